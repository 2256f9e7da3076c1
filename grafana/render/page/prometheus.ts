/** Asks Prometheus as Grafana does: macros, intervals, legends. */
import { type DataFrame, FieldType, type Labels, type TimeRange, dateTime } from "@grafana/data";

/** Setting "Scrape interval" of the data source, in seconds. */
const SCRAPE = 5;

export interface Target { expr: string; legendFormat: string; instant: boolean; format: string; refId: string }
interface Series { metric: Labels; value?: [number, string]; values?: [number, string][] }

export async function query(target: Target, range: TimeRange, width: number): Promise<DataFrame[]> {
  const [from, to] = [range.from.unix(), range.to.unix()];
  const step = Math.max(Math.ceil((to - from) / width), SCRAPE);
  const macros: Record<string, string> = {
    $__rate_interval: `${Math.max(step + SCRAPE, 4 * SCRAPE)}s`,
    $__range: `${to - from}s`,
    $job: ".+", $instance: ".+", $task: ".+", $model: ".+",
  };
  const expr = target.expr.replace(/\$\w+/g, (name) => macros[name] ?? name);
  const ask = target.instant
    ? `query?${new URLSearchParams({ query: expr, time: `${to}` })}`
    : `query_range?${new URLSearchParams({ query: expr, start: `${from - (from % step)}`, end: `${to}`, step: `${step}` })}`;
  const answer = await (await fetch(`/prometheus/api/v1/${ask}`)).json();
  if (answer.status !== "success") throw new Error(`${answer.error}: ${expr}`);
  const series: Series[] = answer.data.result;
  return target.format === "table" ? [asTable(target, series, to)] : series.map((one) => asSeries(target, one));
}

function asSeries(target: Target, one: Series): DataFrame {
  const points = one.values ?? [one.value!];
  const name = legend(target.legendFormat, one.metric);
  return {
    refId: target.refId,
    name,
    length: points.length,
    fields: [
      { name: "Time", type: FieldType.time, config: {}, values: points.map(([t]) => t * 1000) },
      { name: "Value", type: FieldType.number, config: { displayNameFromDS: name }, labels: one.metric, values: points.map(([, v]) => Number(v)) },
    ],
  };
}

function asTable(target: Target, series: Series[], to: number): DataFrame {
  const labels = [...new Set(series.flatMap((one) => Object.keys(one.metric)))].sort();
  return {
    refId: target.refId,
    length: series.length,
    fields: [
      { name: "Time", type: FieldType.time, config: {}, values: series.map(() => to * 1000) },
      ...labels.map((label) => ({ name: label, type: FieldType.string, config: {}, values: series.map((one) => one.metric[label] ?? "") })),
      { name: "Value", type: FieldType.number, config: {}, values: series.map((one) => Number(one.value![1])) },
    ],
  };
}

function legend(format: string, labels: Labels): string {
  if (format !== "__auto") return format.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, label) => labels[label] ?? "");
  return JSON.stringify(labels);
}

/** Several tables of one panel call their values by their letters. */
export function lettered(frames: DataFrame[], tables: number): DataFrame[] {
  if (tables < 2) return frames;
  return frames.map((frame) => ({
    ...frame,
    fields: frame.fields.map((field) => (field.name === "Value" ? { ...field, name: `Value #${frame.refId}` } : field)),
  }));
}

export function between(from: number, to: number): TimeRange {
  const ends = { from: dateTime(from * 1000), to: dateTime(to * 1000) };
  return { ...ends, raw: ends };
}

/** "now/d" and "now/M": from the beginning of the day or the month. */
export function since(range: TimeRange, timeFrom?: string): TimeRange {
  const unit = timeFrom?.split("/")[1] as "d" | "M" | undefined;
  if (!unit) return range;
  const start = dateTime(range.to).startOf(unit === "d" ? "day" : "month");
  return between(start.unix(), range.to.unix());
}
