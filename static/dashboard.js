// Neuronpedia's objects as the views use them: one shape for what comes from our index and from
// imported files, with nothing missing.

import { visible } from './format.js';

const list = (value) => (Array.isArray(value) ? value : []);

function histogram(heights, centres) {
  const counts = list(heights);
  const middle = list(centres);
  if (!counts.length || counts.length !== middle.length) return null;
  const step = middle.length > 1 ? (middle[middle.length - 1] - middle[0]) / (middle.length - 1) : 0;
  return {
    low: middle[0] - step / 2, step,
    bars: counts.map((count, i) => ({ count, from: middle[i] - step / 2, to: middle[i] + step / 2, middle: middle[i] })),
  };
}

const logits = (tokens, values) => list(tokens).map((token, i) => ({ token, value: list(values)[i] ?? 0 }));

/** One text. `at` is the token it was chosen for, `value` the feature's value there. */
function example(row) {
  const values = list(row.values);
  const ofNeuron = row.group !== undefined; // it knows its token in every group
  const sampled = (row.binContains >= 0 || ofNeuron) && row.qualifyingTokenIndex !== null && row.qualifyingTokenIndex !== undefined;
  const at = sampled ? row.qualifyingTokenIndex : row.maxValueTokenIndex ?? values.indexOf(Math.max(...values));
  return {
    tokens: list(row.tokens), values, at, value: values[at] ?? row.maxValue,
    low: row.binMin ?? -1, high: row.binMax ?? -1, share: row.binContains ?? -1,
    origin: row.dataSource ?? '', lowest: row.group === 'lowest', signed: ofNeuron,
  };
}

/** A label as the server writes it, `" there", "There" -> " You"`, in running words: "there, There → You". */
export function label(text) {
  return (text ?? '').split(' -> ').map((side) => {
    const quoted = side.match(/"(?:[^"\\]|\\.)*"/g);
    if (!quoted) return side;
    const tokens = quoted.map((one) => {
      try {
        const token = JSON.parse(one);
        return visible(token.trim() || token);
      } catch {
        return one.slice(1, -1); // a byte that is no character, as "\x1b"
      }
    });
    return [...new Set(tokens)].join(', ');
  }).join(' → ');
}

export const explanation = (row) => ({
  id: row.id ?? '', text: row.description ?? '', type: row.typeName ?? '', by: row.explanationModelName ?? '',
  here: row.origin === 'here', scores: list(row.scores).map((score) => ({
    name: score.explanationScoreTypeName ?? 'score', value: score.value,
  })).filter(({ value }) => typeof value === 'number'),
});

export function feature(row) {
  return {
    model: row.modelId, source: row.layer, index: Number(row.index),
    indexed: row.indexed !== false && row.maxActApprox !== null,
    imported: row.origin === 'imported', maximum: row.maxActApprox ?? 0, minimum: row.minActApprox ?? 0, density: row.frac_nonzero ?? 0,
    count: row.count ?? null, label: label(row.label),
    activations: histogram(row.freq_hist_data_bar_heights, row.freq_hist_data_bar_values),
    votes: histogram(row.logits_hist_data_bar_heights, row.logits_hist_data_bar_values),
    positive: logits(row.pos_str, row.pos_values), negative: logits(row.neg_str, row.neg_values),
    nearest: list(row.topkCosSimIndices).map((index, i) => ({ index, cosine: list(row.topkCosSimValues)[i] })),
    explanations: list(row.explanations).map(explanation).filter(({ text }) => text),
    examples: list(row.activations).map(example), facts: row.source ?? {}, other: row.imported ?? null,
  };
}

/** What stands for a feature in a list: its first explanation, else its label, else nothing. */
export function meaning(one) {
  if (one.explanations.length) return { text: one.explanations[0].text, isLabel: false };
  return { text: one.label, isLabel: true };
}

/** Examples in groups, the top ones first, then the intervals from the highest down; of neurons the
 * lowest values last, the lowest of them first. */
export function groups(examples) {
  const found = new Map();
  for (const one of examples) {
    const top = one.share < 0 && !one.lowest;
    let key = `${one.low} ${one.high}`;
    if (one.share < 0) key = one.lowest ? 'lowest' : 'top';
    if (!found.has(key)) found.set(key, { top, lowest: one.lowest, low: one.low, high: one.high, share: one.share, rows: [] });
    found.get(key).rows.push(one);
  }
  for (const group of found.values()) group.rows.sort((a, b) => (group.lowest ? a.value - b.value : b.value - a.value));
  return [...found.values()].sort((a, b) => b.top - a.top || a.lowest - b.lowest || b.high - a.high);
}

/** Rows whose tokens are another row's, in any order, are duplicates of it. */
export function fold(rows) {
  const seen = new Set();
  const firsts = [];
  const others = [];
  for (const row of rows) {
    const key = [...row.tokens].sort().join('\u0000');
    (seen.has(key) ? others : firsts).push(row);
    seen.add(key);
  }
  return { firsts, others };
}
