import { type DataFrame, type TimeRange, ThemeContext, createTheme } from "@grafana/data";
import { initPluginTranslations } from "@grafana/i18n";
import { GlobalStyles, PanelChrome } from "@grafana/ui";
import { useEffect, useState } from "react";
import { createRoot } from "react-dom/client";

import board from "./board.json";
import { Draw } from "./draw";
import { complete, prepared } from "./fields";
import { type Target, between, lettered, query, since } from "./prometheus";

const COLUMN = 1592 / 24;
const ROW = 30;
const GAP = 8;
const theme = createTheme({ colors: { mode: new URLSearchParams(location.search).get("theme") === "light" ? "light" : "dark" } });

async function frames(panel: any, range: TimeRange, width: number): Promise<DataFrame[]> {
  const answers = await Promise.all(panel.targets.map((one: Target) => query(one, range, width)));
  return prepared(panel, lettered(answers.flat(), panel.targets.length), theme);
}

function Panel({ panel, range }: { panel: any; range: TimeRange }) {
  const [data, setData] = useState<DataFrame[]>();
  const { x, y, w, h } = panel.gridPos;
  const [width, height] = [w * COLUMN - GAP, h * (ROW + GAP) - GAP];
  const shown = since(range, panel.timeFrom);
  useEffect(() => {
    frames(panel, shown, width).then(setData, (error) => console.error(`${panel.title}: ${error}`));
  }, []);
  return (
    <div style={{ position: "absolute", left: x * COLUMN + GAP, top: y * (ROW + GAP), width, height }}>
      <PanelChrome title={panel.title} description={panel.description} width={width} height={height}>
        {(width, height) => data && <div className="drawn"><Draw {...{ panel, frames: data, range: shown, width, height }} /></div>}
      </PanelChrome>
    </div>
  );
}

function Board({ range }: { range: TimeRange }) {
  const height = Math.max(...board.panels.map(({ gridPos }) => gridPos.y + gridPos.h)) * (ROW + GAP);
  const clock = (time: TimeRange["from"]) => time.utc().format("HH:mm:ss");
  return (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <header style={{ padding: 16, display: "flex", gap: 24, alignItems: "baseline" }}>
        <h3 style={{ margin: 0 }}>{board.title}</h3>
        <span style={{ color: theme.colors.text.secondary }}>
          {clock(range.from)} to {clock(range.to)} UTC · scripted load, made-up watts
        </span>
      </header>
      <main style={{ position: "relative", height }} data-panels={board.panels.length}>
        {board.panels.map(complete).map((panel) => <Panel key={panel.id} panel={panel} range={range} />)}
      </main>
    </ThemeContext.Provider>
  );
}

const asked = new URLSearchParams(location.search);
await initPluginTranslations("joulegate", []);
Object.assign(document.body.style, { width: "1600px", margin: "0" });
createRoot(document.getElementById("root")!).render(
  <Board range={between(Number(asked.get("from")), Number(asked.get("to")))} />,
);
