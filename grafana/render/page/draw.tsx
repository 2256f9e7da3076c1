/** Draws each kind of panel with the component that Grafana itself uses for it. */
import {
  type DataFrame, type FieldDisplay, type TimeRange, VizOrientation, FieldType,
  getDisplayProcessor, getDisplayValueAlignmentFactors, getFieldDisplayValues,
} from "@grafana/data";
import { BarGauge, BigValue, TimeSeries, VizRepeater, useTheme2 } from "@grafana/ui";
import { TableNG } from "@grafana/ui/unstable";

export interface Drawing { panel: any; frames: DataFrame[]; range: TimeRange; width: number; height: number }

export function Draw(props: Drawing) {
  switch (props.panel.type) {
    case "timeseries": return <Lines {...props} />;
    case "stat": return <Values {...props} />;
    case "bargauge": return <Bars {...props} />;
    case "table": return <Rows {...props} />;
    default: throw new Error(`no component for ${props.panel.type}`);
  }
}

function Lines({ panel, frames, range, width, height }: Drawing) {
  if (!frames.length) return <>No data</>;
  const legend = { showLegend: true, ...panel.options.legend };
  return <TimeSeries frames={frames} timeRange={range} timeZone="utc" width={width} height={height} legend={legend} options={panel.options} />;
}

function useValues({ panel, frames }: Drawing): FieldDisplay[] {
  const theme = useTheme2();
  return getFieldDisplayValues({
    data: frames,
    fieldConfig: panel.fieldConfig,
    reduceOptions: panel.options.reduceOptions,
    replaceVariables: (text: string) => text,
    theme,
    timeZone: "utc",
  });
}

function Values(props: Drawing) {
  const theme = useTheme2();
  const { panel, width, height } = props;
  const values = useValues(props);
  const { colorMode, graphMode, textMode, justifyMode, text } = panel.options;
  return (
    <VizRepeater
      source={values} getValues={() => values} renderCounter={0} autoGrid width={width} height={height} orientation={VizOrientation.Auto}
      renderValue={({ value, width, height, count }) => (
        <BigValue value={value.display} sparkline={value.sparkline} {...{ colorMode, graphMode, textMode, justifyMode, text, width, height, count, theme }} />
      )}
    />
  );
}

function Bars(props: Drawing) {
  const theme = useTheme2();
  const { panel, width, height } = props;
  const values = useValues(props);
  const { displayMode, valueMode, namePlacement, orientation, text } = panel.options;
  return (
    <VizRepeater
      source={values} getValues={() => values} renderCounter={0} width={width} height={height} itemSpacing={8}
      minVizHeight={16} maxVizHeight={300} minVizWidth={8} orientation={orientation}
      getAlignmentFactors={(all) => getDisplayValueAlignmentFactors(all)}
      renderValue={({ value, width, height, alignmentFactors }) => (
        <BarGauge
          value={value.display} field={value.field} showUnfilled itemSpacing={8} theme={theme} orientation={orientation}
          display={getDisplayProcessor({ field: { type: FieldType.number, config: value.field }, theme })}
          valueDisplayMode={valueMode} {...{ text, displayMode, namePlacement, width, height, alignmentFactors }}
        />
      )}
    />
  );
}

function Rows({ panel, frames, width, height }: Drawing) {
  const { cellHeight, sortBy } = panel.options;
  return <TableNG data={frames[0]} width={width} height={height} cellHeight={cellHeight} sortBy={sortBy} noHeader={false} />;
}
