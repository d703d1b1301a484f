// What a feature does to the output: the tokens it votes for and against, and all its votes.
import { h } from './dom.js';
import { opacity, percent, short, visible } from './format.js';
import { histogram } from './histogram.js';
import { searchPath } from './paths.js';

function rows(list, { sign, strongest, source }) {
  return h('ol', { class: 'logits' }, list.map(({ token, value }) => {
    const pill = h('a', {
      class: `pill ${sign}`, title: `Features that promote ${JSON.stringify(token)}`,
      href: searchPath({ q: token, in: 'promotes', source }),
    }, visible(token));
    pill.style.setProperty('--part', (strongest > 0 ? Math.abs(value) / strongest : 0).toFixed(3));
    return h('li', {}, pill, h('span', { class: 'value' }, value <= -10000 ? 'N/A' : value.toFixed(2)));
  }));
}

/** The values that a feature takes, or null. */
export const activationHistogram = (feature, label = 'Activations') => feature.activations && histogram(feature.activations, {
  label, words: ['Activation', 'tokens'],
  shade: (value) => ({
    name: value < 0 ? 'against' : 'fire', alpha: Math.max(0.25, opacity(value, Math.max(feature.maximum, -feature.minimum))).toFixed(3),
  }),
});

/** How often a feature fires; of a neuron, which has a value on every token, how far it swings. */
export const spread = (feature) => (feature.minimum < 0 ? `Values from ${short(feature.minimum)} to ${short(feature.maximum)}`
  : `Activations Density ${percent(feature.density)}`);

/** @returns {{element: HTMLElement, mark: (value: number|null) => void}} */
export function statistics(feature, { few = 10 } = {}) {
  const positive = feature.positive.slice(0, few);
  const negative = feature.negative.slice(0, few);
  const strongest = Math.max(0, ...[...feature.positive, ...feature.negative].map(({ value }) => Math.abs(value)).filter((v) => v < 10000));
  const none = (list) => (list.length ? null : h('p', { class: 'muted' }, 'None known.'));
  const fires = activationHistogram(feature);
  const votes = feature.votes && histogram(feature.votes, {
    label: 'Logits', words: ['Logit', 'tokens of the vocabulary'],
    shade: (value) => ({ name: value < 0 ? 'against' : 'for', alpha: 1 }),
  });
  const element = h('div', { class: 'stats' },
    h('section', { 'aria-labelledby': 'negative' }, h('h2', { id: 'negative' }, 'Negative logits'),
      none(negative), rows(negative, { sign: 'against', strongest, source: feature.source })),
    h('section', { 'aria-labelledby': 'positive' }, h('h2', { id: 'positive' }, 'Positive logits'),
      none(positive), rows(positive, { sign: 'for', strongest, source: feature.source })),
    h('section', { class: 'plots', 'aria-labelledby': 'density' },
      h('h2', { id: 'density', title: feature.minimum < 0 ? 'The lowest and the highest value on the indexed tokens'
        : 'The share of the indexed tokens on which the feature is above 0' }, spread(feature)),
      fires ? fires.element : h('p', { class: 'muted' }, 'It has not fired on the indexed text.'),
      votes && h('h2', {}, 'Logits'), votes && votes.element));
  return { element, mark: (value) => fires?.mark(value) };
}
