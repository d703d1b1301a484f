// The steps of the guided tour: what each says, what it asks the server, and what it shows of the answer.
import { examplesList } from './activations.js';
import { largest, dimList, rectangle } from './residual.js';
import { magnitude, signedPixel } from './colour.js';
import * as dashboard from './dashboard.js';
import { h, svg } from './dom.js';
import { brief, count, exact, percent as density, short, visible } from './format.js';
import { heat } from './heat.js';
import { statistics } from './logits.js';
import { knownMeaning, learn } from './meanings.js';
import { featurePath, labPath, reportPath, sourcePath, steerPath, toolPath } from './paths.js';
import { traceCall, readSafetensors } from './trace.js';

const TOP = 10;
const LENS_TOP = 3;

const share = (part) => `${(100 * part).toFixed(2)}%`;

/* --- requests ------------------------------------------------------------------------------- */

/** The likeliest next tokens, by name: a continuation of one token. */
const nextCall = ({ text }, title, edits) => ({
  path: '/v1/steer/completion', title,
  body: { prompt: text, types: [edits ? 'STEERED' : 'DEFAULT'], ...(edits ? { edits } : {}), n_completion_tokens: 1, n_logprobs: TOP },
});
const nextOf = ({ data }) => data.outputs[0].logprobs[0].top_logprobs.map(({ token, logprob }) => [token, Math.exp(logprob)]);

const rowsCall = (context, title, read) => traceCall(title, { prompt: context.text, read, positions: [-1] });
/** The same for the page: an eighth of the size. */
async function rows(context, read) {
  const { data } = await context.ask(traceCall('', { prompt: context.text, read, positions: [-1], format: 'safetensors' }), context.signal, { binary: true });
  return readSafetensors(data);
}

/* --- what several steps show ---------------------------------------------------------------- */

const likeliest = (...lists) => Math.max(...lists.flat().map(([, part]) => part));

/** Tokens and probabilities as bars, the published ones beside those found; most: the probability of a whole bar. */
function tokenBars(list, { title, published = null, most = likeliest(list) } = {}) {
  const theirs = new Map(published ?? []);
  return h('div', { class: 'nextpane' }, title ? h('h3', {}, title) : '',
    published ? h('p', { class: 'compared' }, h('span', {}, 'found'), h('span', {}, 'published')) : '',
    h('ol', { class: published ? 'next compared' : 'next' }, list.map(([token, part]) => h('li', { 'data-token': token, 'data-value': exact(part) },
      h('span', { class: 'chip' }, visible(token)),
      svg('svg', { class: 'share', viewBox: '0 0 100 4', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, svg('rect', { width: (100 * part) / most, height: 4 })),
      h('span', { class: 'value' }, share(part)), published ? h('span', { class: 'value theirs' }, theirs.has(token) ? share(theirs.get(token)) : '–') : ''))));
}

/** A row as an image, with the dim that is pointed at and its largest dims. */
function imagePane(data, { onChoose } = {}) {
  const said = h('p', { class: 'readout' });
  const say = (dim) => said.replaceChildren(...(dim === null ? [h('span', { class: 'muted' }, 'Point at a square, or walk them with the arrow keys.')]
    : [h('span', { class: 'value' }, exact(data[dim])), h('span', { class: 'muted' }, `dim ${dim}`)]));
  const image = heat({ label: 'The row as an image', onPoint: say });
  const dims = dimList({ onPoint: (dim) => { image.mark(dim); say(dim); }, onChoose });
  image.show({ ...rectangle(data.length), data, colour: () => signedPixel(magnitude(data)) });
  dims.show(largest(data, TOP));
  say(null);
  const { rows: high, columns } = rectangle(data.length);
  return h('div', { class: 'imagepair' }, h('div', {}, image.element, said), h('div', {}, h('h3', {}, `${count(data.length)} numbers as ${high} × ${columns}; the largest:`), dims.element));
}

/** The row that a source reads, in words. */
const ROWS = { 'MLP output': 'what the MLP of layer', 'residual stream': 'the residual stream after layer', 'attention heads': 'what the attention heads of layer', transcoder: 'what the MLP of layer' };
const rowOf = ({ site, sourceLayer }) => `${ROWS[site] ?? `${site} of layer`} ${sourceLayer}${{ 'MLP output': ' adds', 'attention heads': ' hand on', transcoder: ' is given' }[site] ?? ''}`;

const columns = (...panes) => h('div', { class: 'sidebyside' }, panes);
/** Predictions side by side, on one scale: [[list, title, published?]]. */
const predictions = (...panes) => columns(...panes.map(([list, title, published]) => tokenBars(list, { title, published, most: likeliest(...panes.map(([one]) => one)) })));
const more = (words, href) => h('p', { class: 'onward' }, h('a', { href }, words));

/* --- the steps ------------------------------------------------------------------------------ */

export const STEPS = [
  {
    id: 'tokens', title: 'A text becomes tokens',
    words: () => 'The model reads numbered pieces of words, with a <bos> in front that marks the beginning. Everything from here on happens once for each of them.',
    calls: ({ text }) => [{ path: '/v1/tokenize', title: 'The tokens and their ids', body: { text, prepend_bos: true } }],
    async show(context, [call]) {
      const { data } = await context.ask(call, context.signal);
      return [h('ol', { class: 'pieces' }, data.token_strings.map((token, i) => h('li', {}, h('span', { class: 'chip' }, visible(token)), h('span', { class: 'muted' }, String(data.tokens[i]))))),
        h('p', {}, `${data.tokens.length} tokens${context.published ? `; published: ${context.published.tokens.length}` : ''}. ␣ is a leading space; the number is the token’s id.`),
        more(context.source ? 'What each of them makes the SAE see, in the lab' : 'The tokens in the lab', labPath({ text: context.text }))];
    },
  },
  {
    id: 'next', title: 'What comes next',
    words: () => 'At the last token the model gives every token of its vocabulary a probability. These are the ten likeliest.',
    calls: (context) => [nextCall(context, 'The likeliest next tokens')],
    async show(context, [call]) {
      return [tokenBars(nextOf(await context.ask(call, context.signal)), { published: context.published?.next }),
        more('Which parts of the model vote for the first of them', toolPath('attribution', { text: context.text }))];
    },
  },
  {
    id: 'write', title: 'One word decides the rest',
    words: () => 'The text is continued with each of the three likeliest words. The first choice bends everything that follows.',
    calls: (context) => ['first', 'second', 'third'].map((which, i) => ({
      path: '/v1/steer/completion', title: `With the ${which} word`,
      body: { prompt: context.text + (context.likely?.[i]?.[0] ?? ''), types: ['DEFAULT'], n_completion_tokens: 20, temperature: 0.5, freq_penalty: 2, seed: 16 },
    })),
    async prepare(context) {
      context.likely ??= nextOf(await context.ask(nextCall(context, ''), context.signal)).slice(0, 3);
    },
    async show(context, calls) {
      const texts = await Promise.all(calls.map((call) => context.ask(call, context.signal)));
      return [columns(...texts.map(({ data }, i) => h('p', { class: 'writing' }, h('span', { class: 'before' }, context.text), h('strong', {}, context.likely[i][0]), data.outputs[0].output))),
        more('Write on, token by token', steerPath([], { text: context.text, n: 20, freq: 2 }))];
    },
  },
  {
    id: 'embedding', title: 'A token is a row of numbers',
    words: ({ tokens }) => `The embedding looks ${visible(tokens.at(-1))} up in a table. Here is its row as an image: orange above 0, violet below.`,
    calls: (context) => [rowsCall(context, 'The embedding of the last token', ['embed'])],
    async show(context) {
      return [imagePane((await rows(context, ['embed'])).get('embed').data),
        more('The rows of the other tokens', toolPath('residual', { text: context.text }))];
    },
  },
  {
    id: 'residual', title: 'Every layer writes into the same row',
    words: ({ layers }) => `Attention and MLP of each of the ${layers} layers add their outputs to the row: the residual stream. Its size grows, and its picture changes step by step.`,
    calls: (context) => [rowsCall(context, 'The row after the first and the last layer', ['embed', 'resid_post.0', `resid_post.${context.layers - 1}`])],
    async show(context) {
      const all = await rows(context, ['embed', 'resid_post.*']);
      const frames = ['embed', ...Array.from({ length: context.layers }, (_, i) => `resid_post.${i}`)];
      const film = h('ol', { class: 'reel' }, frames.map((name) => {
        const { data } = all.get(name);
        const image = heat({ label: name, onPoint: () => {} });
        image.element.removeAttribute('tabindex');
        image.show({ ...rectangle(data.length), data, colour: () => signedPixel(magnitude(data)) });
        const rms = Math.sqrt(data.reduce((sum, value) => sum + value * value, 0) / data.length);
        return h('li', { 'data-point': name }, image.element, h('span', {}, name === 'embed' ? 'embed' : `L${name.slice(11)}`), h('span', { class: 'muted' }, `rms ${short(rms)}`));
      }));
      return [film, more('Step through the layers, attention and MLP outputs too', toolPath('residual', { text: context.text, token: context.tokens.length - 1, layer: context.layers - 1 }))];
    },
  },
  {
    id: 'lens', title: 'What each layer would say',
    words: () => 'The logit lens reads the row after every layer as if it were the last one. Early layers repeat the token; somewhere on the way the answer appears.',
    calls: ({ text }) => [{ path: '/v1/lens/prompt', title: 'The lens at the last token', body: { prompt: text, sites: ['embed', 'resid_post'], positions: [-1], top_n: LENS_TOP, filter_non_word_tokens: false, stream: false } }],
    async show(context, [call]) {
      const { data } = await context.ask(call, context.signal);
      const results = data.tokens[0].results.flatMap(({ site, top_tokens: tokens, top_probs: parts }) => tokens.map((names, i) => ({ name: site === 'embed' ? 'embed' : `L${i}`, names, parts: parts[i] })));
      const theirs = context.published ? [context.published.lensEmbed, ...context.published.lens] : null;
      const cell = (token, part) => {
        const one = h('td', {}, h('span', { class: 'chip' }, visible(token)), h('span', { class: 'value' }, share(part)));
        one.style.setProperty('--part', part.toFixed(3));
        return one;
      };
      return [h('div', { class: 'scroll wide', tabindex: '0', role: 'region', 'aria-label': 'The lens, layer by layer' }, h('table', { class: 'lenslist' },
        h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'After'), ['first', 'second', 'third'].map((name) => h('th', { scope: 'col' }, name)), theirs ? h('th', { scope: 'col' }, 'first, published') : '')),
        h('tbody', {}, results.map(({ name, names, parts }, i) => h('tr', { 'data-row': name }, h('th', { scope: 'row' }, name), names.map((token, k) => cell(token, parts[k])),
          theirs ? h('td', { class: 'theirs' }, theirs[i] ? `${visible(theirs[i][0][0])} ${share(theirs[i][0][1])}` : '–') : ''))))),
      more('The whole table, all tokens', toolPath('lens', { text: context.text, token: context.tokens.length - 1 }))];
    },
  },
  {
    id: 'mlp', title: 'One layer’s contribution',
    words: ({ layer }) => `This is what the MLP of layer ${layer} adds to the last token’s row. A few of its entries stand out: the video calls them neurons.`,
    calls: (context) => [rowsCall(context, 'The MLP’s output at the last token', [`mlp_out.${context.layer}`])],
    async show(context) {
      const { data } = (await rows(context, [`mlp_out.${context.layer}`])).get(`mlp_out.${context.layer}`);
      return [imagePane(data), h('p', {}, `The next step takes dim ${context.neuron}, which is ${short(data[context.neuron])} here.`, context.published ? ` Published as large: ${context.published.dims.join(', ')}.` : ''),
        more('What makes it large: its own page', featurePath(context.model, `${context.layer}-mlp_out`, context.neuron))];
    },
  },
  {
    id: 'clamp', title: 'Hold one number fixed',
    words: ({ layer, neuron, clamped }) => `Dim ${neuron} of mlp_out.${layer} is set to −${clamped} and to +${clamped} at every token. What the model says next moves.`,
    calls: (context) => [nextCall(context, 'As it is'), ...[-1, 1].map((sign) => nextCall(context, `Dim ${context.neuron} at ${sign < 0 ? '−' : '+'}${context.clamped}`,
      [{ type: 'set', point: `mlp_out.${context.layer}`, dim: context.neuron, value: sign * context.clamped }]))],
    async show(context, calls) {
      const [clean, below, above] = (await Promise.all(calls.map((call) => context.ask(call, context.signal)))).map(nextOf);
      const { published } = context;
      return [predictions([below, `at −${context.clamped}`, published?.clampedBelow], [clean, 'as it is', published?.next], [above, `at +${context.clamped}`, published?.clampedAbove]),
      h('p', { class: 'muted' }, 'But one number stands for many things at once. Features are the way out.'),
      more('Follow this number through the layers', toolPath('residual', { text: context.text, site: 'mlp_out', token: context.tokens.length - 1, layer: context.layer, dim: context.neuron }))];
    },
  },
  {
    id: 'features', title: 'A row as a sum of features', sae: true,
    words: (context) => `The sparse autoencoder ${context.source} reads ${rowOf(context)} and writes it as a sum of a few of ${count(context.size)} directions. ${context.active} of them are active on the last token.`,
    calls: ({ text, source }) => [{ path: '/v1/activation/topk-by-token', title: 'The strongest features of each token', body: { prompt: text, source, top_k: TOP } }],
    async show(context, [call]) {
      const { data } = await context.ask(call, context.signal);
      const list = data.results.at(-1).top_features.filter((one) => one.activation_value > 0);
      await learn(context.model, list.map((one) => ({ source: context.source, index: one.feature_index })), context.signal).catch(() => {});
      const published = context.publishedSae;
      const theirs = new Map(published?.features ?? []);
      const most = Math.max(...list.map((one) => one.activation_value));
      const dots = heat({ label: 'All features as an image', onPoint: () => {} });
      dots.element.removeAttribute('tabindex');
      dots.show({ ...rectangle(context.acts.length), data: context.acts, colour: () => (value) => [16, 185, 129, value > 0 ? 90 + Math.round((165 * value) / most) : 0] });
      return [h('div', { class: 'imagepair' }, h('div', {}, h('div', { class: 'dots' }, dots.element), h('p', { class: 'muted' }, `All ${count(context.size)} features, one a dot; those that are 0 are not drawn.`)),
        h('div', {}, published ? h('p', { class: 'compared' }, h('span', {}, 'found'), h('span', {}, 'published')) : '', h('ol', { class: 'thoughts walked' }, list.map((one) => {
        const known = knownMeaning(context.source, one.feature_index);
        return h('li', { 'data-feature': one.feature_index, 'data-value': exact(one.activation_value) }, h('a', { class: 'index', href: featurePath(context.model, context.source, one.feature_index) }, String(one.feature_index)),
          h('span', { class: known?.isLabel || !known?.text ? 'text label' : 'text' }, known?.text || (known?.indexed ? '\u00a0' : 'not indexed')),
          h('span', { class: 'value' }, short(one.activation_value)), published ? h('span', { class: 'value theirs' }, theirs.has(one.feature_index) ? short(theirs.get(one.feature_index)) : '–') : '');
      })))), more('See the features of every token in the lab', labPath({ text: context.text, source: context.source }))];
    },
  },
  {
    id: 'feature', title: 'What one feature means', sae: true,
    words: ({ source, feature }) => `Feature ${feature} of ${source}: the texts on which it is strongest, and the tokens that it votes for.`,
    calls: ({ model, source, feature }) => [{ path: `/api/feature/${encodeURIComponent(model)}/${encodeURIComponent(source)}/${feature}`, title: 'The feature’s page as JSON' }],
    async show(context, [call]) {
      const { data } = await context.ask(call, context.signal);
      const one = dashboard.feature({ ...data, modelId: context.model, layer: context.source, index: context.feature });
      const { text, isLabel } = dashboard.meaning(one);
      return [h('p', { class: isLabel ? 'tourmeans label' : 'tourmeans' }, text || 'Nobody has explained it yet.'),
        one.indexed ? h('p', { class: 'muted' }, `density ${density(one.density)} · maximum ${short(one.maximum)}`) : h('p', { class: 'muted' }, 'The source has not been indexed, so the texts are not known: ', h('code', {}, `./darkmatter index --source ${context.source}`)),
        one.positive.length ? statistics(one, { few: 5 }).element : '',
        one.indexed ? examplesList(dashboard.fold(one.examples.filter(({ value }) => value > 0)).firsts.slice(0, 5), { maximum: one.maximum }) : '',
        more('Its whole page', featurePath(context.model, context.source, context.feature))];
    },
  },
  {
    id: 'splice', title: 'Put the sum in place of the row', sae: true,
    words: ({ source }) => `At every token the row is replaced by the sum that ${source} makes of it. If the features said everything, nothing would change.`,
    calls: (context) => [nextCall(context, 'As it is'), nextCall(context, 'With the SAE spliced in', [{ type: 'splice', source: context.source }])],
    async show(context, calls) {
      const [clean, spliced] = (await Promise.all(calls.map((call) => context.ask(call, context.signal)))).map(nextOf);
      return [predictions([clean, 'as it is', context.publishedSae?.next], [spliced, 'spliced', context.publishedSae?.spliced]),
        more('What it leaves unexplained of a whole corpus', reportPath(context.model, context.source))];
    },
  },
  {
    id: 'steer', title: 'Turn a feature up', sae: true,
    words: (context) => `Feature ${context.feature} is added to every token’s row, ${context.strengths.map(brief).join(' and ')} times its direction.`,
    calls: (context) => [nextCall(context, 'As it is'), ...context.strengths.map((strength) => nextCall(context, `${brief(strength)} times`, [{ type: 'add', source: context.source, index: context.feature, strength }]))],
    async show(context, calls) {
      const lists = (await Promise.all(calls.map((call) => context.ask(call, context.signal)))).map(nextOf);
      const { publishedSae: published, strengths } = context;
      return [predictions(...lists.map((list, i) => (i === 0 ? [list, 'as it is', published?.next] : [list, `+${brief(strengths[i - 1])}`, published?.steered[i - 1]]))),
        more('Play with it: sliders, whole texts, side by side', steerPath([{ source: context.source, index: context.feature, strength: context.strengths[0] }], { text: context.text }))];
    },
  },
  {
    id: 'dark', title: 'What is left unexplained', sae: true,
    words: () => 'The difference between the row and the sum of its features is the dark matter. It is not noise: it votes too.',
    calls: ({ text, source }) => [{ path: '/v1/dark-matter', title: 'The errors, and what becomes of the text without them', body: { prompt: text, source, runs: ['splice', 'zero', 'error_only'], top: 5 } }],
    async show(context, [call]) {
      const { data } = await context.ask(call, context.signal);
      const last = data.tokens.length - 1;
      const { totals } = data;
      const vote = (list, sign) => list.map(({ token, logit }) => h('span', { class: `pill ${sign}`, title: exact(logit) }, visible(token)));
      const rows = [['as it is', totals.ce_clean], ['SAE spliced in', totals.ce_splice], ['the error alone', totals.ce_error_only], ['nothing at all (zero)', totals.ce_zero]].filter(([, value]) => typeof value === 'number');
      const most = Math.max(...rows.map(([, value]) => value));
      return [h('p', { class: 'bignumber' }, h('strong', { 'data-value': exact(data.rel_err[last]) }, `${(100 * data.rel_err[last]).toFixed(1)}%`), ` of the length of this row of ${visible(data.tokens[last])} is not explained by its ${data.l0[last]} features`),
        data.votes ? h('p', { class: 'darkvotes' }, h('span', { class: 'muted' }, 'The error votes for'), ...vote(data.votes[last].promoted, 'for'), h('span', { class: 'muted' }, 'against'), ...vote(data.votes[last].suppressed, 'against')) : '',
        h('h3', {}, 'How badly the text is foreseen (nats a token, less is better)'),
        h('ol', { class: 'next losses' }, rows.map(([name, value]) => h('li', { 'data-value': exact(value) }, h('span', {}, name),
          svg('svg', { class: 'share plainbar', viewBox: '0 0 100 4', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, svg('rect', { width: (100 * value) / most, height: 4 })), h('span', { class: 'value' }, value.toFixed(3))))),
        typeof totals.loss_recovered === 'number' ? h('p', {}, `The SAE recovers ${(100 * totals.loss_recovered).toFixed(1)}% of the loss on this text.`) : '',
        more('The strip under every token, in the lab', labPath({ text: context.text, source: context.source })),
        more('All features of the source', sourcePath(context.model, context.source))];
    },
  },
];

/* --- what the tour is about ------------------------------------------------------------------ */

/** Picks prompt, layer, source, neuron and feature: the video's where the model has them, else this model's own. */
export async function choose(known, text, published, ask, signal) {
  const { model, catalogue, num_layers: layers } = known;
  const video = model === published.model && text === published.text;
  const sae = catalogue.find(({ name }) => name === published.source) ?? catalogue.find(({ site }) => site === 'MLP output') ?? catalogue[0] ?? null;
  const layer = video && layers > published.layer ? published.layer : sae?.layer ?? Math.floor(layers / 2);
  const same = video && sae?.name === published.source;
  const context = { model, text, layers, layer, source: sae?.name ?? null, site: sae?.site, sourceLayer: sae?.layer,
    published: video ? published : null, publishedSae: same ? published : null, ask, signal };
  const { data } = await ask({ path: '/v1/tokenize', body: { text, prepend_bos: true } }, signal);
  context.tokens = data.token_strings;
  const read = await rows(context, [`mlp_out.${layer}`, ...(sae ? [`acts:${sae.name}`] : [])]);
  const row = read.get(`mlp_out.${layer}`).data;
  const [[strongest, value]] = largest(row, 1);
  const exactly = video && row.length > published.neuron;
  context.neuron = exactly ? published.neuron : strongest;
  context.clamped = exactly ? published.clamped : Number((8 * Math.abs(value)).toPrecision(2));
  if (sae) {
    context.acts = read.get(`acts:${sae.name}`).data;
    context.size = context.acts.length;
    context.active = context.acts.filter((one) => one > 0).length;
    const [[feature, activation]] = largest(context.acts, 1);
    context.feature = same ? published.feature : feature;
    context.strengths = same ? published.strengths : [3, 10].map((times) => Number((times * activation).toPrecision(2)));
  }
  return context;
}

export const stepsOf = (context) => STEPS.filter(({ sae }) => !sae || context.source);
