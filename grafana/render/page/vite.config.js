import { defineConfig } from "vite";

// Prometheus allows no other origin, so the page asks it through its own server.
const proxy = { "/prometheus": { target: process.env.PROMETHEUS, rewrite: (path) => path.slice("/prometheus".length) } };

export default defineConfig({
  preview: { host: "127.0.0.1", strictPort: true, proxy },
  esbuild: { jsx: "automatic" },
  define: { "process.env.NODE_ENV": '"production"', "process.env": "{}" },
  build: { target: "esnext", minify: false },
  logLevel: "error",
});
