// node shoot.mjs ADDRESS PICTURE: draws the board in Chromium and fails where a panel does.
import { chromium } from "playwright-core";

const [address, picture] = process.argv.slice(2);
const flags = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: flags });
const page = await browser.newPage({ viewport: { width: 1600, height: 1000 } });
const problems = [];
page.on("pageerror", (error) => problems.push(`${error.stack}`));
page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
try {
  await page.goto(address);
  await page.waitForFunction(() => {
    const board = document.querySelector("[data-panels]");
    return board && document.querySelectorAll(".drawn").length === Number(board.dataset.panels);
  }, undefined, { timeout: 20_000 });
  await page.evaluate(() => document.fonts.ready);
  // Tables draw no rows outside of the window.
  await page.setViewportSize({ width: 1600, height: await page.evaluate(() => document.documentElement.scrollHeight) });
  // uPlot draws in the next frames.
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  await page.screenshot({ path: picture, fullPage: true });
} catch (error) {
  problems.push(`${error}`);
} finally {
  await browser.close();
}
for (const problem of problems) console.error(problem);
process.exit(problems.length ? 1 : 0);
