/** The kinds of panels that the dashboards are made of, in one look. */

import { LegendDisplayMode, LegendPlacement, VizLegendOptionsBuilder } from '@grafana/grafana-foundation-sdk/common'
import {
  type Dashboard,
  DashboardBuilder,
  DatasourceVariableBuilder,
  type Panel,
  QueryVariableBuilder,
  RowBuilder,
  ThresholdsConfigBuilder,
  ThresholdsMode,
  VariableRefresh,
} from '@grafana/grafana-foundation-sdk/dashboard'
import { DataqueryBuilder } from '@grafana/grafana-foundation-sdk/prometheus'
import { PanelBuilder as StatBuilder } from '@grafana/grafana-foundation-sdk/stat'
import { PanelBuilder as StateBuilder } from '@grafana/grafana-foundation-sdk/statetimeline'
import { PanelBuilder as GraphBuilder } from '@grafana/grafana-foundation-sdk/timeseries'

/** The data source and the namespace that are chosen on top of a dashboard. */
const SOURCE = { type: 'prometheus', uid: '$datasource' }
/** What every expression is narrowed by; where nothing has a namespace, all of it is meant. */
export const HERE = 'namespace=~"$namespace"'

/** An expression, and what its series are called. */
export type Query = readonly [expression: string, legend: string]
interface Words {
  title: string
  description: string
  unit?: string
}

/** A panel before it has its number. */
export type Part = (id: number) => { build(): Panel }

const HEIGHT = 7
const targets = (queries: readonly Query[]) =>
  queries.map(([expression, legend], position) =>
    new DataqueryBuilder()
      .refId(String.fromCharCode('A'.charCodeAt(0) + position))
      .datasource(SOURCE)
      .expr(expression)
      .legendFormat(legend)
      .range(),
  )

/** Lines over time. */
export const graph =
  ({ title, description, unit = 'short' }: Words, queries: readonly Query[], span = 8): Part =>
  (id) =>
    new GraphBuilder()
      .id(id)
      .title(title)
      .description(description)
      .datasource(SOURCE)
      .unit(unit)
      .min(0)
      .height(HEIGHT)
      .span(span)
      .fillOpacity(10)
      .legend(
        new VizLegendOptionsBuilder()
          .displayMode(LegendDisplayMode.List)
          .placement(LegendPlacement.Bottom)
          .showLegend(true),
      )
      .targets(targets(queries))

/** Bars that are green at 1 and red at 0, and say so in words. */
export const states =
  ({ title, description }: Words, query: Query, span = 12): Part =>
  (id) =>
    new StateBuilder()
      .id(id)
      .title(title)
      .description(description)
      .datasource(SOURCE)
      .height(HEIGHT)
      .span(span)
      .mergeValues(true)
      .mappings([
        {
          type: 'value',
          options: { 0: { text: 'away', color: 'red', index: 0 }, 1: { text: 'ok', color: 'green', index: 1 } },
        },
      ] as Parameters<StateBuilder['mappings']>[0])
      .targets(targets([query]))

/** One number, red from some value on, or below one. */
export const number =
  (
    { title, description, unit = 'short' }: Words,
    query: Query,
    red: { from: number } | { below: number },
    span = 4,
  ): Part =>
  (id) => {
    const steps =
      'from' in red
        ? [
            { value: null, color: 'green' },
            { value: red.from, color: 'red' },
          ]
        : [
            { value: null, color: 'red' },
            { value: red.below, color: 'green' },
          ]
    return new StatBuilder()
      .id(id)
      .title(title)
      .description(description)
      .datasource(SOURCE)
      .unit(unit)
      .height(HEIGHT)
      .span(span)
      .thresholds(new ThresholdsConfigBuilder().mode(ThresholdsMode.Absolute).steps(steps))
      .targets(targets([query]))
  }

/** A dashboard of rows. `of` is a metric that everything it shows has beside it: namespaces are those it is seen in. */
export function dashboard(
  { title, uid, of }: { title: string; uid: string; of: string },
  rows: readonly (readonly [title: string, parts: readonly Part[]])[],
): Dashboard {
  const builder = new DashboardBuilder(title)
    .uid(uid)
    .tags(['dvt-relayer', 'generated'])
    .refresh('30s')
    .time({ from: 'now-6h', to: 'now' })
    .timezone('browser')
    .withVariable(new DatasourceVariableBuilder('datasource').label('Data source').type('prometheus'))
    .withVariable(
      new QueryVariableBuilder('namespace')
        .label('Namespace')
        .datasource(SOURCE)
        .query(`label_values(${of}, namespace)`)
        .refresh(VariableRefresh.OnTimeRangeChanged)
        .includeAll(true)
        .allValue('.*')
        .current({ selected: true, text: 'All', value: '$__all' }),
    )
  let id = 1
  for (const [rowTitle, parts] of rows) {
    builder.withRow(new RowBuilder(rowTitle).id(id++))
    for (const part of parts) builder.withPanel(part(id++))
  }
  return builder.build()
}

/** Every expression of the panels, as Prometheus takes it: with all namespaces, and a rate over five minutes. */
export function expressionsOf({ panels = [] }: Dashboard): string[] {
  return panels.flatMap((panel) => {
    const { targets: asked = [] } = panel as { targets?: { expr?: string }[] }
    return asked.flatMap(({ expr }) =>
      expr === undefined ? [] : [expr.replaceAll('$namespace', '.*').replaceAll('$__rate_interval', '5m')],
    )
  })
}
