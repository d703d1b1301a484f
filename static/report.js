// What a source leaves unexplained of a corpus: figures, distributions, the tokens and texts it fails on.
import { request } from './api.js';
import { h, svg } from './dom.js';
import { brief, count, exact, visible } from './format.js';
import { histogram } from './histogram.js';
import { passage } from './passage.js';
import { featurePath, labPath, modelPath, sourcePath } from './paths.js';
import { describe } from './sources.js';
import { tips } from './tip.js';

const KEYS = [['← →', 'read a histogram'], ['/', 'search']];
const TOKENS = 15; // of a list, before it is unfolded
const CONTEXTS = 6;
const BARS = 60;
const FULL = 1.2; // the relative error that is painted in full

const known = (value) => typeof value === 'number';
const fixed = (value, digits = 3) => (known(value) ? value.toFixed(digits) : '–');
const percent = (share, digits = 1) => (known(share) ? `${(100 * share).toFixed(digits)}%` : '–');

/** One number with its name, the exact value beside it. */
const figure = ([name, value, , text = fixed(value)]) => h('div', { class: 'figure' }, h('dt', {}, name),
  h('dd', { 'data-value': known(value) ? exact(value) : null }, text));

function reconstruction({ figures, linear }) {
  const list = [
    ['Unexplained (FVU)', figures.fvu, 'squared error over squared deviation from the mean', percent(figures.fvu)],
    ['Error length', figures.errNorm, 'mean of |error|', known(figures.errNorm) ? brief(figures.errNorm) : '–'],
    ['Relative error', figures.relErr, 'mean of |error| / |x|', percent(figures.relErr)],
    ['Cosine', figures.cosine, 'mean cosine of x and its reconstruction'],
    ['L0', figures.l0, 'features that fire on a token, on average', fixed(figures.l0, 2)],
    ['MSE', figures.mse, 'mean squared error of one number of the row', known(figures.mse) ? brief(figures.mse) : '–'],
    ['L2 ratio', figures.l2Ratio, 'mean of |reconstruction| / |x|'],
    ['Bias', figures.relativeReconstructionBias, 'below 1: the reconstruction is too short'],
    ['Linear part', linear.r2, 'R² of a linear map from the input to the error, on held-out contexts', percent(linear.r2)],
    ['Linear part of |error|²', linear.normR2, 'R² of a linear map to the squared length of the error', percent(linear.normR2)],
  ];
  return h('section', { 'aria-labelledby': 'reconstruction' }, h('h2', { id: 'reconstruction' }, 'Reconstruction'),
    h('dl', { class: 'figures' }, list.map(figure)),
    h('details', { class: 'meanings' }, h('summary', {}, 'What these numbers are'),
      h('p', { class: 'muted' }, 'x is a token’s row, the error is x less its reconstruction.'),
      h('ul', {}, list.map(([name, , meaning]) => h('li', {}, h('b', {}, name), `: ${meaning}`)))));
}

const RUNS = [['Clean', 'ceClean', 'the model as it is'], ['Spliced', 'ceSplice', 'the reconstruction in the place of x'],
  ['Mean', 'ceMean', 'the mean of the context in its place'], ['Zero', 'ceZero', 'zeros in its place']];
const KLS = { ceSplice: 'klSplice', ceMean: 'klMean', ceZero: 'klZero' };

function predictions({ figures, predictions: number }) {
  const most = Math.max(...RUNS.map(([, key]) => figures[key] ?? 0), 1e-9);
  const rows = RUNS.map(([name, key, title]) => h('tr', { title },
    h('th', { scope: 'row' }, name),
    h('td', { class: 'wide' }, svg('svg', { class: 'loss', viewBox: '0 0 100 8', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
      svg('rect', { width: (100 * (figures[key] ?? 0)) / most, height: 8, class: key === 'ceClean' ? 'clean' : null }))),
    h('td', { 'data-value': known(figures[key]) ? exact(figures[key]) : null }, fixed(figures[key])),
    h('td', {}, key in KLS ? fixed(figures[KLS[key]]) : '')));
  return h('section', { 'aria-labelledby': 'predictions' }, h('h2', { id: 'predictions' }, 'Predictions'),
    h('table', { class: 'losses' }, h('thead', {}, h('tr', {}, h('td'), h('td', { class: 'wide' }), h('th', { scope: 'col' }, 'Loss'), h('th', { scope: 'col' }, 'KL'))),
      h('tbody', {}, rows)),
    h('p', { class: 'muted' }, known(figures.lossRecovered)
      ? `The reconstruction recovers ${percent(figures.lossRecovered)} of what zeros lose${known(figures.lossRecoveredMean) ? `, ${percent(figures.lossRecoveredMean)} of what the mean loses` : ''}.`
      : 'Zeros in its place cost less than 0.05 nats: no share of that is meaningful.',
    ` Nats, over ${count(number)} predictions.`));
}

/** Bins of {width, counts} as the bars of histogram.js, neighbours added up where there are too many. */
function bars({ width, counts }) {
  const step = Math.max(1, Math.ceil(counts.length / BARS));
  const joined = [];
  for (let i = 0; i < counts.length; i += step) {
    const sum = counts.slice(i, i + step).reduce((a, b) => a + b, 0);
    joined.push({ count: sum, from: i * width, to: (i + step) * width, middle: (i + step / 2) * width });
  }
  return { bars: joined };
}

function distribution(id, title, data, what, hue) {
  const drawn = histogram(bars(data), { label: title, words: [what, 'tokens'], shade: () => ({ name: hue, alpha: 0.85 }) });
  return h('section', { 'aria-labelledby': id }, h('h2', { id }, title), drawn.element);
}

/** Puts the beginning of a list into the container; the button that adds the rest, or null. */
function unfolding(items, few, container, words) {
  container.append(...items.slice(0, few));
  if (items.length <= few) return null;
  const button = h('button', {
    type: 'button', class: 'plain',
    onclick: () => {
      container.append(...items.slice(few));
      button.remove();
    },
  }, `Show all ${items.length} ${words}`);
  return button;
}

function tokenTable(id, title, note, list) {
  const most = Math.max(...list.map(({ relErr }) => relErr), 1e-9);
  const rows = list.map((one) => h('tr', { 'data-id': one.id },
    h('td', {}, h('span', { class: 'chip', title: JSON.stringify(one.token) }, visible(one.token))),
    h('td', { class: 'number' }, count(one.count)),
    h('td', { class: 'number', 'data-value': exact(one.relErr) }, svg('svg', { class: 'amount', viewBox: '0 0 100 4', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
      svg('rect', { width: (100 * one.relErr) / most, height: 4 })), percent(one.relErr)),
    h('td', { class: 'number', 'data-value': exact(one.share) }, percent(one.share, 2))));
  const body = h('tbody');
  const table = h('table', { class: 'listing failing' }, h('thead', {}, h('tr', {}, ['Token', 'Seen', 'Error', 'Share'].map((words, i) => h('th', { scope: 'col', class: i ? 'number' : null }, words)))), body);
  const more = unfolding(rows, TOKENS, body, 'tokens');
  return h('section', { 'aria-labelledby': id }, h('h2', { id }, title), h('p', { class: 'muted' }, note),
    list.length ? [table, more] : h('p', { class: 'muted' }, 'None.'));
}

/** Tokens whose logits the error raises or lowers, on average over the corpus. */
function voteTable(id, title, note, list, sign) {
  const most = Math.max(...list.map(({ logit }) => sign * logit), 1e-9);
  const rows = list.map((one) => h('tr', { 'data-id': one.id },
    h('td', {}, h('span', { class: 'chip', title: JSON.stringify(one.token) }, visible(one.token))),
    h('td', { class: 'number', 'data-value': exact(one.logit) }, svg('svg', { class: 'amount', viewBox: '0 0 100 4', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
      svg('rect', { width: Math.max(0, (100 * sign * one.logit) / most), height: 4 })), one.logit.toFixed(3))));
  return h('section', { 'aria-labelledby': id }, h('h2', { id }, title), h('p', { class: 'muted' }, note),
    h('table', { class: 'listing failing votes' }, h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'Token'),
      h('th', { scope: 'col', class: 'number' }, 'Logit'))), h('tbody', {}, rows)));
}

function votes({ errorVotes, figures }) {
  if (!errorVotes) return []; // not finished, or nothing that leads to the residual stream
  const share = known(figures.errShare) ? ` Of the likeliest token's logit, ${percent(figures.errShare)} is the error's.` : '';
  return [h('div', { class: 'reporting' },
    voteTable('promoted', 'What the error votes for', `What it adds to logits on average, every norm frozen.${share}`, errorVotes.promoted, 1),
    voteTable('suppressed', 'What it votes against', 'What it takes from logits on average.', errorVotes.suppressed, -1))];
}

/** One text, its tokens painted by their errors. */
function text(one) {
  const values = one.relErrs.map((value) => value ?? 0);
  const at = values.indexOf(Math.max(...values));
  const cells = passage({ tokens: one.tokens, values, at }, { maximum: FULL, breaks: true, label: `Context ${one.number}, mean error ${percent(one.relErr)}` });
  for (const cell of cells.querySelectorAll('.tok')) {
    const value = one.relErrs[Number(cell.dataset.i)];
    cell.style.backgroundColor = ''; // passage paints activations
    cell.classList.remove('hot');
    cell.style.setProperty('--part', Math.min(1, (value ?? 0) / FULL).toFixed(3));
  }
  const body = one.tokens.slice(one.relErrs[0] === null ? 1 : 0).join(''); // the lab puts <bos> in front itself
  const element = h('div', { class: 'row failed' },
    h('div', { class: 'lead' }, h('span', { class: 'value' }, percent(one.relErr)), h('span', { class: 'peaktoken' }, `line ${count(one.line)}`)),
    cells, h('a', { class: 'plain', href: labPath({ text: body }), title: 'This text in the prompt lab' }, 'Lab'));
  tips(cells, '.tok', (cell) => {
    const i = Number(cell.dataset.i);
    const value = one.relErrs[i];
    const words = value === null ? 'not counted' : `error ${percent(value)} of the token's length`;
    cell.setAttribute('aria-label', `${visible(one.tokens[i])}, position ${i}, ${words}`);
    return [h('b', {}, JSON.stringify(one.tokens[i]).slice(1, -1)), h('span', {}, words)];
  });
  return element;
}

function contexts({ worstContexts: list }) {
  const rows = h('div', { class: 'rows' });
  const more = unfolding(list.map(text), CONTEXTS, rows, 'texts');
  return h('section', { class: 'contexts', 'aria-labelledby': 'contexts' }, h('h2', { id: 'contexts' }, 'Texts it fails on'),
    h('p', { class: 'muted' }, 'The contexts of largest mean relative error; the stronger a token is coloured, the more of it is unexplained.'),
    list.length ? [rows, more] : h('p', { class: 'muted' }, 'None was long enough.'));
}

function draw(report) {
  const { heaviestTokens: heavy, worstTokens: worst, leastCount: least, differentTokens: different } = report;
  return [
    h('div', { class: 'reporting' }, reconstruction(report), predictions(report)),
    h('div', { class: 'reporting' },
      distribution('errors', 'Relative error of a token', report.errorHistogram, '|error| / |x|', 'against'),
      distribution('l0s', 'Active features of a token', report.l0Histogram, 'L0', 'fire')),
    h('div', { class: 'reporting' },
      tokenTable('worst', 'Tokens it fails on', `The largest mean error, of those seen ${count(least)} times or more (${count(different)} different tokens were seen).`, worst),
      tokenTable('heavy', 'Tokens that weigh most', 'The largest share of all squared error.', heavy)),
    ...votes(report),
    contexts(report),
  ];
}

const wordsOf = ({ report, madeAt }) => [
  report.corpus, `${count(report.tokens)} tokens`, `${count(report.contexts)} contexts of ${report.settings.context}`,
  report.finished ? new Date(madeAt).toISOString().slice(0, 10) : 'not finished: the same command goes on',
].join(' · ');

function nothing({ source }) {
  return h('div', { class: 'empty', id: 'notevaluated' }, h('h2', {}, 'Not evaluated yet'),
    h('p', {}, 'What this source leaves unexplained is not known before a corpus has been read:'),
    h('pre', { tabindex: '0' }, `./darkmatter evaluate --source ${source} --limit-tokens 100000`),
    h('p', { class: 'muted' }, 'With the --model, --saes, --db and --corpus of your own; Ctrl-C stops it, the same command goes on.'));
}

export async function openReport(main, frame, names) {
  const { model, source } = names;
  const name = h('h1', {}, describe(source).label);
  const totals = h('p', { class: 'totals', id: 'totals' }, '\u00a0');
  const choice = h('select', { id: 'evaluation', 'aria-label': 'Which corpus', hidden: true });
  const place = h('div', { class: 'place' });
  frame.keys(KEYS);
  frame.searchKey();
  frame.title(`Report on ${source}`);
  main.replaceChildren(h('div', { class: 'headline' },
    h('div', { class: 'where' },
      h('nav', { class: 'crumbs', 'aria-label': 'Where this is' },
        h('a', { href: modelPath(model) }, model), h('span', { 'aria-hidden': 'true' }, '/'),
        h('a', { href: sourcePath(model, source) }, source), h('span', { 'aria-hidden': 'true' }, '/'),
        h('span', { 'aria-current': 'page' }, 'report')),
      h('div', { class: 'steps' }, choice, h('a', { class: 'plain', href: featurePath(model, source, 0) }, 'Features'))),
    name, totals), place);
  frame.fill().then(({ source_details: all }) => {
    const { label } = describe(source, all?.find((one) => one.name === source));
    name.textContent = `What ${label} leaves unexplained`;
  }, () => {});
  try {
    const { data } = await request(`/api/source/${encodeURIComponent(model)}/${encodeURIComponent(source)}/evaluation`);
    const { evaluations } = data;
    if (!evaluations.length) {
      totals.textContent = '';
      place.replaceChildren(nothing(names));
    } else {
      const show = (i) => {
        totals.textContent = wordsOf(evaluations[i]);
        place.replaceChildren(...draw(evaluations[i].report));
      };
      choice.append(...evaluations.map(({ report }, i) => h('option', { value: i }, `${report.corpus}, contexts of ${report.settings.context}`)));
      choice.hidden = evaluations.length < 2;
      choice.addEventListener('change', () => show(Number(choice.value)));
      show(0);
    }
  } catch (error) {
    place.replaceChildren(h('div', { class: 'notice', role: 'alert' }, h('p', {}, error.message)));
  }
  main.dataset.ready = '';
}
