/** Applies the field settings and transformations of a panel with Grafana's own code. */
import {
  type DataFrame, FieldConfigOptionsRegistry, type GrafanaTheme2, type FieldConfigSource,
  applyFieldOverrides, cacheFieldDisplayNames, identityOverrideProcessor, standardTransformers, standardTransformersRegistry, transformDataFrame,
} from "@grafana/data";
import { firstValueFrom } from "rxjs";

const STANDARD = ["unit", "min", "max", "decimals", "displayName", "noValue", "thresholds", "mappings", "color"];
const CUSTOM = [
  "drawStyle", "fillOpacity", "lineWidth", "lineStyle", "lineInterpolation", "showPoints", "stacking", "spanNulls",
  "gradientMode", "hideFrom", "axisPlacement", "axisLabel", "axisSoftMin", "axisSoftMax", "axisWidth", "align", "width", "minWidth", "cellOptions",
];

const item = (id: string, isCustom: boolean) => ({
  id: isCustom ? `custom.${id}` : id,
  path: id,
  name: id,
  isCustom,
  shouldApply: () => true,
  process: identityOverrideProcessor,
  editor: () => null,
  override: () => null,
  settings: {},
});

const registry = new FieldConfigOptionsRegistry(() =>
  [...STANDARD.map((id) => item(id, false)), ...CUSTOM.map((id) => item(id, true))] as never,
);

/** Some of Grafana's transformations stand there under two names. */
const known = new Map(Object.values(standardTransformers).map((one) => [one.id, one]));

standardTransformersRegistry.setInit(() =>
  [...known.values()].map((transformation) => ({ id: transformation.id, name: transformation.name, transformation: async () => transformation })) as never,
);

/** What Grafana puts in where a panel says nothing. */
const DEFAULTS = {
  color: { mode: "thresholds" },
  thresholds: { mode: "absolute", steps: [{ color: "green", value: null }, { color: "red", value: 80 }] },
};

/** Give the panel with Grafana's own defaults. */
export function complete(panel: any): any {
  const { defaults, overrides } = structuredClone(panel.fieldConfig);
  return { ...panel, fieldConfig: { defaults: { ...structuredClone(DEFAULTS), ...defaults }, overrides } };
}

export async function prepared(panel: any, frames: DataFrame[], theme: GrafanaTheme2): Promise<DataFrame[]> {
  const steps = panel.transformations ?? [];
  const transformed = steps.length ? await firstValueFrom(transformDataFrame(steps, frames)) : frames;
  const applied = applyFieldOverrides({
    data: transformed,
    fieldConfig: panel.fieldConfig as FieldConfigSource,
    fieldConfigRegistry: registry,
    replaceVariables: (text: string) => text,
    theme,
    timeZone: "utc",
  });
  cacheFieldDisplayNames(applied);
  return applied;
}
