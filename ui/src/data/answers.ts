/** What the server answers, as the components take it. Nothing is asked for here. */

import type { components } from '../api/schema';
import { floats, TensorFormatError, type Tensors } from '../codec/tensors';
import type { OptionValue } from '../state/view-state';
import type {
  About,
  AttentionMatrix,
  AttentionRows,
  BlockFacts,
  Extent,
  Floats,
  Grid,
  Importance,
  MapResult,
  Method,
  MethodList,
  MethodOption,
  OptionKind,
  Picture,
  Prediction,
} from './source';

type Schemas = components['schemas'];

export function aboutOf(answer: Schemas['About']): About {
  const { model, study, beside, limits } = answer;
  return {
    version: answer.version,
    model: model && {
      name: model.name,
      weights: model.weights,
      grid: model.grid && { rows: model.grid[0], columns: model.grid[1] },
      size: model.image_size ?? [1, 1],
      blocks: model.blocks,
      heads: model.heads,
      prefix: model.prefix.map(tokenName),
      classes: model.classes,
      notes: model.notes,
      extent: model.extent,
    },
    study: study && study.name,
    beside: beside && {
      names: beside.names as unknown as readonly [string, string],
      base: `${beside.path}/`,
    },
    unknown: study?.unknown ?? { drop: NO_STUDY, similarity: NO_STUDY },
    canCompute: answer.can_compute,
    whyNot: answer.why_not,
    notes: [
      ...(answer.why_not === null
        ? []
        : [`nothing can be computed here, what the study holds is shown: ${answer.why_not}`]),
      ...(study?.notes ?? []),
    ],
    uploadBytes: limits.upload_bytes,
    video: answer.video,
  };
}

const NO_STUDY = 'no study is open; the pictures were added by hand';

/** "class" is the class token on screen, "register_1" register 1. */
function tokenName(name: string): string {
  return name === 'class' ? 'class token' : name.replaceAll('_', ' ');
}

export function methodsOf(answer: Schemas['Methods']): MethodList {
  return { default: answer.default, methods: answer.methods.map(methodOf) };
}

function methodOf(answer: Schemas['MethodAbout']): Method {
  return {
    name: answer.name,
    title: answer.title,
    family: answer.family,
    summary: answer.summary,
    citation: answer.citation,
    signed: answer.signed,
    classSpecific: answer.class_specific,
    hasFlow: answer.has_flow,
    forwards: answer.forwards,
    backwards: answer.backwards,
    passesBy:
      answer.passes_by !== null && answer.passes_at !== null
        ? { option: answer.passes_by, at: answer.passes_at }
        : null,
    refusal: answer.applies ? null : (answer.reason ?? 'does not apply to this model'),
    options: answer.options.filter((option) => option.settable).map(optionOf),
  };
}

function optionOf(answer: Schemas['OptionAbout']): MethodOption {
  const known: readonly OptionKind[] = ['number', 'integer', 'boolean', 'choice', 'text'];
  return {
    name: answer.name,
    kind: known.find((kind) => kind === answer.kind) ?? 'other',
    default: answer.default as OptionValue,
    low: answer.low,
    high: answer.high,
    step: answer.step,
    choices: (answer.choices ?? []).map(String),
    optional: answer.optional,
    accepts: answer.accepts,
  };
}

export function picturesOf(answer: Schemas['Pictures']): Picture[] {
  const { columns } = answer;
  const at = <T>(column: readonly T[], place: number): T | null => column[place] ?? null;
  return columns.id.map((id, place) => ({
    id,
    row: at(columns.row, place),
    name: at(columns.name, place) ?? id,
    label: at(columns.label_name, place) ?? numbered(at(columns.label, place)),
    prediction: at(columns.prediction_name, place) ?? numbered(at(columns.prediction, place)),
    confidence: at(columns.confidence, place),
    entropy: at(columns.entropy, place),
    drop: at(columns.drop, place),
    dropHead: at(columns.drop_head, place),
    correct: at(columns.correct, place),
    added: at(columns.added, place) ?? false,
    skipped: at(columns.skipped, place),
  }));
}

function numbered(index: number | null): string | null {
  return index === null ? null : `class ${index}`;
}

export function predictionOf(answer: Schemas['Prediction']): Prediction {
  const scores = (top: readonly Schemas['ClassAnswer'][]): Prediction['top'] =>
    top.map((score) => ({ ...score, name: score.name ?? `class ${score.class}` }));
  const { label, without } = answer;
  return {
    top: scores(answer.top),
    label: label && { class: label.class, name: label.name ?? `class ${label.class}` },
    entropy: answer.entropy,
    without: without && { top: scores(without.top), entropy: without.entropy },
  };
}

export function blocksOf(answer: Schemas['Blocks']): BlockFacts {
  const blocks = Math.max(0, ...answer.blocks.map((block) => block + 1));
  const heads = Math.max(0, ...answer.entropy.map((row) => row.length));
  const spread = (rows: readonly (readonly (number | null)[])[]): Floats => {
    const values = new Float32Array(blocks * heads).fill(NaN);
    rows.forEach((row, place) => {
      const block = answer.blocks[place] ?? place;
      row.forEach((value, head) => (values[block * heads + head] = value ?? NaN));
    });
    return values;
  };
  return {
    blocks,
    heads,
    entropy: spread(answer.entropy),
    classShare: answer.class_share && spread(answer.class_share),
    hop: spread(answer.hop),
  };
}

/** The answer to `map`, of the server or handed over by a notebook. Throws TensorFormatError. */
export function mapOf(tensors: Tensors): MapResult {
  const header = tensors.metadata as unknown as Omit<Schemas['MapHeader'], 'tensors'>;
  const map = floats(tensors, 'map');
  const flow = tensors.tensors.has('flow') ? floats(tensors, 'flow') : null;
  return {
    grid: gridOf(map.shape),
    map: map.data,
    flow: flow && {
      of: header.flow_of === 'stage' ? 'stage' : 'block',
      count: flow.shape[0] ?? 0,
      first: header.first_block,
      values: flow.data,
    },
    prefix: header.prefix.map(({ name, share, value, flow }) => ({ name, share, value, flow })),
    extent: header.extent as unknown as Extent,
    signed: header.signed,
    target: header.explained,
    score: header.score,
    notes: header.notes,
  };
}

export function rowsOf(tensors: Tensors): AttentionRows {
  const { shape, data } = floats(tensors, 'rows');
  const { prefix, grid } = tensors.metadata as unknown as Schemas['RowsHeader'];
  const [rows = 0, columns = 0] = grid;
  return { grid: { rows, columns }, heads: shape[0] ?? 0, tokens: shape[1] ?? 0, prefix, values: data };
}

export function matrixOf(tensors: Tensors): AttentionMatrix {
  const matrix = tensors.tensors.get('matrix');
  const [queries = 0, keys = 0] = matrix?.shape ?? [];
  if (!matrix || !(matrix.data instanceof Uint8Array))
    throw new TensorFormatError('the answer has no matrix');
  if (queries !== keys)
    throw new TensorFormatError('only the class token asks in this block; there is no matrix');
  const { prefix } = tensors.metadata as unknown as Schemas['MatrixHeader'];
  const levels = matrix.data as Uint8Array<ArrayBuffer>;
  return { tokens: queries, prefix, levels, scale: floats(tensors, 'scale').data };
}

export function importanceOf(tensors: Tensors): Importance {
  const { shape, data } = floats(tensors, 'importance');
  const { title } = tensors.metadata as unknown as Schemas['ImportanceHeader'];
  return { blocks: shape[0] ?? 0, heads: shape[1] ?? 0, values: data, title };
}

function gridOf(shape: readonly number[]): Grid {
  const [rows, columns] = shape.slice(-2);
  if (shape.length !== 2 || !rows || !columns) {
    throw new TensorFormatError(`expected a map of rows × columns, got ${shape.join(' × ')}`);
  }
  return { rows, columns };
}
