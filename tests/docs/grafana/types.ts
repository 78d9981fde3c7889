// What each part of the shipped dashboard must be, in the types of Grafana's published schema.
import type {AnnotationQuery, Dashboard, DataQuery} from '@grafana/schema';
import type * as stat from './node_modules/@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/types.gen';
import type * as series from './node_modules/@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/types.gen';

interface Expression extends DataQuery {
  expr: string;
  interval?: string;
}
interface PrometheusAnnotation extends AnnotationQuery<Expression> {
  titleFormat: string;
  textFormat: string;
}

export type dashboard = Omit<Dashboard, 'annotations'>;
export type annotations = PrometheusAnnotation[];
export type statOptions = Partial<stat.Options>[];
export type seriesOptions = series.Options[];
export type seriesFields = series.FieldConfig[];
