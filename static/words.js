// What the words and colours of the site mean, for somebody who meets them for the first time.
import { h } from './dom.js';

const swatch = (name) => h('span', { class: `colour ${name}`, 'aria-hidden': 'true' });

const WORDS = [
  ['Source', 'One place of the model, read as a list of features: a sparse autoencoder (SAE) that was trained on it. 20-gemmascope-res-16k reads the residual stream after layer 20 as 16,384 features; mlp is what an MLP adds, att what the attention heads hand on, a transcoder an MLP from its input to its output. A layer’s own neurons are sources too: 20, and 20-mlp_out.'],
  ['Feature', 'One direction of a source, known by its number. It fires on a token where its activation is above 0.'],
  ['Activation', 'How much of the feature there is on a token, in the units of the model’s rows. Within a source values can be compared, from source to source they cannot.'],
  ['Density, maximum', 'The share of the indexed tokens on which the feature fires, and its largest activation there. Indexed is what “darkmatter index” has read.'],
  ['Explanation, label', 'An explanation is a sentence that somebody wrote or a language model gave. A label is made here, from the tokens a feature is strongest on and, after the arrow, those it promotes.'],
  ['Logits', 'What one unit of the feature adds to the score of each token that may come next, read straight off the unembedding.'],
  ['Dark matter', 'What is left of a token’s row when all its features are taken away. Its relative error is its length over the row’s; FVU is the share of the variance; L0 counts the features that fire on a token.'],
  ['Loss, KL, entropy', 'In nats. Loss is how badly the next token was foreseen; KL how far one prediction is from another; entropy how unsure one is.'],
];
const COLOURS = [
  ['fire', 'an activation, stronger the nearer it is to the maximum; of a vote: for the token'],
  ['against', 'a neuron’s value below 0; of a vote: against the token; in reports: an error'],
  ['sky', 'a share of one: a probability, an attention weight'],
  ['above', 'a number of a row above 0'],
  ['below', 'a number of a row below 0'],
  ['grey', 'under a token: the part of it that the SAE leaves unexplained'],
];

export const wordsPane = () => h('section', { class: 'glossary', id: 'words', 'aria-labelledby': 'words-title' },
  h('h2', { id: 'words-title' }, 'What the words mean'),
  h('dl', {}, WORDS.map(([word, meaning]) => h('div', {}, h('dt', {}, word), h('dd', {}, meaning)))),
  h('h2', {}, 'What the colours mean'),
  h('ul', { class: 'colours' }, COLOURS.map(([name, meaning]) => h('li', {}, swatch(name), h('span', {}, meaning)))),
  h('p', { class: 'muted' }, 'In tokens ␣ is a leading space, ↵ a line break and � a byte that is no character by itself.'));
