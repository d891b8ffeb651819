/** What is said of two models by a method and a metric: plain functions over the server's own answer. */

import type { components } from '../api/schema';
import { numeral } from '../format/numbers';

export type Models = components['schemas']['Models'];
export type ModelScore = components['schemas']['ModelScore'];

/** Every name once, in the order in which they come. */
export function joined(lists: readonly (readonly string[])[]): string[] {
  return [...new Set(lists.flat())];
}

/** The scores of a method by a metric, in the order of the models. */
export function scoresOf(models: Models, method: string, metric: string): ModelScore[] {
  return models.names.flatMap(
    (name) =>
      models.scores.find(
        (score) => score.model === name && score.method === method && score.metric === metric,
      ) ?? [],
  );
}

/** What the paired comparison says, with its p; why there is none where the two cannot be paired. */
export function modelVerdict(models: Models, method: string, metric: string): string {
  const unlike = models.unlike.find((each) => each.method === method);
  if (unlike) return `not paired: ${unlike.reason}`;
  const found = models.verdicts.find((each) => each.method === method && each.metric === metric);
  if (found) return found.p === null ? found.verdict : `${found.verdict} (p ${pInWords(found.p)})`;
  const [known] = scoresOf(models, method, metric);
  return known ? `scored by ${known.model} alone` : '';
}

/** Two digits, and `< 1e−4` below that. */
export function pInWords(p: number): string {
  return p < 1e-4 ? '< 1e−4' : numeral(p, 2);
}

/** The interval of all scores of a metric, for bars that can be compared. */
export function spanOfModels(models: Models, metric: string): readonly [low: number, high: number] {
  const ends = models.scores
    .filter((score) => score.metric === metric)
    .flatMap((score) => [score.low, score.high, score.value])
    .filter((value): value is number => value !== null);
  const [low, high] = [Math.min(0, ...ends), Math.max(0, ...ends)];
  return low === high ? [low, low + 1] : [low, high];
}
