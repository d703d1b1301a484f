// The logit lens: what the model would say next if it ended after each layer.
import { requestStream } from './api.js';
import { h, svg } from './dom.js';
import { count, exact, visible } from './format.js';
import { lensTable, SHADES } from './lens_table.js';
import { lineChart, MOST_LINES, swatch } from './lines.js';
import { setQuery } from './paths.js';
import { naturalOf, queryOf, textTool } from './tool.js';

const TOP = 10;
const FOLLOWED = 3;
const SITES = {
  stream: { words: 'Residual stream', sites: ['embed', 'resid_post'] },
  mid: { words: 'Residual stream, after attention too', sites: ['embed', 'resid_mid', 'resid_post'] },
  before: { words: 'Residual stream before each layer', sites: ['resid_pre'] },
  attention: { words: 'Attention outputs alone', sites: ['attn_out'] },
  mlp: { words: 'MLP outputs alone', sites: ['mlp_out'] },
};
const SHORT = { embed: 'embed', resid_pre: 'pre', resid_mid: 'mid', resid_post: 'L', attn_out: 'A', mlp_out: 'M' };

/** Rows of the table in the order of depth: [{site, at (its place in the site's lists), name}]. */
function depths(bySite) {
  const rows = Object.entries(bySite).flatMap(([site, layers], order) => layers.map((layer, at) => ({
    site, at, name: site === 'embed' ? 'embed' : `${SHORT[site]}${SHORT[site].length > 1 ? ' ' : ''}${layer}`, order: site === 'embed' ? -1 : layer + order / 10,
  })));
  return rows.sort((a, b) => a.order - b.order);
}
const cellsOf = (results, rows) => rows.map(({ site, at }) => {
  const one = results.find((other) => other.site === site);
  return {
    tokens: one.top_tokens[at], ids: one.top_ids[at], probs: one.top_probs[at], entropy: one.entropy[at], kl: one.kl[at],
    follow: one.track_probs ? one.track_probs[at].map((probability, i) => ({ probability, rank: one.track_ranks[at][i] })) : [],
  };
});
const percent = (share) => (share >= 0.0001 || share === 0 ? `${(100 * share).toFixed(2)}%` : `${(100 * share).toExponential(0)}%`);

/** The ten likeliest tokens of one cell; each can be followed. */
function topPane({ onFollow }) {
  const title = h('h2', {});
  const list = h('ol', { class: 'candidatelist', id: 'top' });
  const facts = h('p', { class: 'muted', id: 'cellfacts' });
  function show({ name, token, cell }) {
    title.replaceChildren(h('span', { class: 'chip' }, visible(token)), ` ${name}`);
    list.replaceChildren(...cell.tokens.map((text, i) => h('li', {}, h('button', {
      type: 'button', title: 'Follow it through the layers', 'data-id': cell.ids[i], 'data-value': exact(cell.probs[i]), onclick: () => onFollow(cell.ids[i]),
    }, h('span', { class: 'text' }, visible(text)), svg('svg', { class: 'share', viewBox: '0 0 100 4', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
      svg('rect', { width: (100 * cell.probs[i]) / (cell.probs[0] || 1), height: 4 })), h('span', { class: 'value' }, percent(cell.probs[i]))))));
    facts.textContent = `entropy ${cell.entropy.toFixed(3)} nats · KL to the end ${cell.kl.toFixed(3)}`;
  }
  return { element: h('section', { class: 'toppane', 'aria-label': 'The likeliest tokens of the cell' }, h('div', { class: 'head' }, title), list, facts), show };
}

/** Followed tokens over the layers, as probabilities or ranks. */
function followPane({ onAdd, onRemove, onPoint }) {
  let mode = 'rank';
  let now = null;
  let row = 0;
  const label = () => (now ? `Followed tokens over the layers: ${now.tokens.map(({ token }, i) => `${visible(token)} ends at rank ${now.cells.at(-1).follow[i].rank}`).join(', ')}` : '');
  const chart = lineChart({ label, onPoint });
  const legend = h('ul', { class: 'legend', id: 'followed' });
  const modes = [['probability', 'Probability'], ['rank', 'Rank']].map(([name, words]) => h('button', { type: 'button', 'data-mode': name, onclick: () => { mode = name; draw(); } }, words));
  const field = h('input', { id: 'follow', 'aria-label': 'Token to follow', placeholder: 'Another token', autocomplete: 'off', spellcheck: 'false' });
  const said = h('p', { class: 'muted followsaid', role: 'alert' });
  const form = h('form', { class: 'followform', 'aria-label': 'Follow a token', onsubmit: (event) => {
    event.preventDefault();
    if (field.value !== '') onAdd(field.value);
    field.value = '';
  } }, field, h('button', { type: 'submit', class: 'plain' }, 'Follow'));
  const element = h('section', { 'aria-label': 'Followed tokens' }, h('div', { class: 'head' }, h('h2', {}, 'Followed tokens'), h('div', { class: 'switch', role: 'group', 'aria-label': 'Unit' }, modes)),
    chart.element, legend, form, said);
  function draw() {
    for (const button of modes) button.setAttribute('aria-pressed', String(button.dataset.mode === mode));
    if (!now) return;
    const { names, cells, tokens, vocabulary } = now;
    const logs = Math.log10(vocabulary);
    const rank = mode === 'rank';
    const highest = Math.max(...cells.flatMap(({ follow }) => follow.map(({ probability }) => probability)));
    const most = [0.01, 0.05, 0.1, 0.25, 0.5].find((limit) => highest <= limit) ?? 1;
    chart.show({
      names, series: tokens.map((_, i) => ({ values: cells.map(({ follow }) => follow[i][mode]) })),
      scale: rank ? (value) => 1 - Math.log10(value) / logs : (value) => value / most,
      ticks: rank ? Array.from({ length: Math.floor(logs) + 1 }, (_, i) => ({ value: 10 ** i, words: count(10 ** i) })) : [0, 0.5, 1].map((part) => ({ value: part * most, words: `${100 * part * most}%` })),
    });
    at(row);
  }
  /** The legend's numbers are those of one row. */
  function at(i) {
    row = i;
    if (!now) return;
    chart.mark(i);
    legend.replaceChildren(...now.tokens.map(({ id, token }, k) => {
      const { probability, rank } = now.cells[Math.min(i, now.cells.length - 1)].follow[k];
      return h('li', { 'data-id': id, 'data-rank': rank, 'data-value': exact(probability) }, swatch(k), h('span', { class: 'chip' }, visible(token)), h('span', { class: 'value' }, percent(probability)),
        h('span', { class: 'muted' }, `rank ${count(rank)}`), h('button', { type: 'button', class: 'plain', 'aria-label': `No longer follow ${visible(token)}`, onclick: () => onRemove(id) }, '×'));
    }));
  }
  return {
    element, at,
    show(what) { now = what; said.textContent = ''; draw(); },
    fail(words) { said.textContent = words; },
  };
}

/** Entropy and KL over the layers. */
function distancePane({ onPoint }) {
  let now = null;
  const chart = lineChart({ label: () => 'Entropy and distance to the end over the layers', onPoint });
  const legend = h('ul', { class: 'legend' });
  const element = h('section', { 'aria-label': 'Entropy and KL' }, h('div', { class: 'head' }, h('h2', {}, 'How sure, and how far from the end')), chart.element, legend);
  function at(i) {
    if (!now) return;
    chart.mark(i);
    const one = now.cells[i];
    legend.replaceChildren(...[['entropy', 'entropy'], ['kl', 'KL to the end']].map(([name, words], k) => h('li', {}, swatch(k), h('span', {}, words), h('span', { class: 'value' }, `${one[name].toFixed(3)} nats`))));
  }
  function show(what) {
    now = what;
    const most = Math.max(1, ...now.cells.flatMap(({ entropy, kl }) => [entropy, kl]));
    const step = [1, 2, 5, 10, 20, 50].find((size) => most / size <= 5) ?? 100;
    chart.show({ names: now.names, series: ['entropy', 'kl'].map((name) => ({ values: now.cells.map((one) => one[name]) })), scale: (value) => value / most,
      ticks: Array.from({ length: Math.floor(most / step) + 1 }, (_, i) => ({ value: i * step, words: String(i * step) })) });
  }
  return { element, at, show };
}

export function openLens(main, frame) {
  const state = {
    site: queryOf('site') in SITES ? queryOf('site') : 'stream', token: naturalOf('token'), layer: naturalOf('row'), shade: queryOf('shade') in SHADES ? queryOf('shade') : 'probability',
    tuned: queryOf('tuned') ?? '', follow: (queryOf('follow') ?? '').split(',').filter((id) => /^\d{1,9}$/.test(id)).map(Number),
  };
  let rows = [];
  let tokens = [];
  let columns = [];
  let vocabulary = 1;
  const select = (id, words, entries, value, onchange) => {
    const control = h('select', { id, onchange: () => onchange(control.value) }, entries.map(([name, label]) => h('option', { value: name }, label)));
    control.value = value;
    return { control, field: h('span', { class: 'field' }, h('label', { for: id }, words), control) };
  };
  const site = select('site', 'Read', Object.entries(SITES).map(([name, { words }]) => [name, words]), state.site, (value) => go({ site: value, layer: null }));
  const shade = select('shade', 'Colour', Object.entries(SHADES).map(([name, { words }]) => [name, words]), state.shade, (value) => { state.shade = value; write(); table.shade(value); });
  const tuned = select('tuned', 'Lens', [['', 'logit lens']], '', (value) => go({ tuned: value }));
  tuned.field.hidden = true;
  const table = lensTable({ onLook: look, onChoose: choose });
  const top = topPane({ onFollow: (id) => follow([...state.follow.filter((other) => other !== id), id].slice(-MOST_LINES)) });
  const followed = followPane({ onAdd: (text) => follow([...state.follow, text].slice(-MOST_LINES)), onRemove: (id) => follow(state.follow.filter((other) => other !== id)), onPoint: pointRow });
  const distance = distancePane({ onPoint: pointRow });
  const charts = h('div', { class: 'charts' }, followed.element, distance.element);
  const tool = textTool(main, frame, {
    title: 'Logit lens', lead: 'What the model would say next if it ended after each layer.', working: 'Reading every layer…',
    keys: [['← ↑ ↓ →', 'walk the table']], controls: [site.field, shade.field, tuned.field], compute,
    known(data) {
      const lenses = data.tuned_lenses ?? [];
      tuned.control.append(...lenses.map((one) => h('option', { value: one }, `tuned: ${one}`)));
      if (!lenses.includes(state.tuned)) state.tuned = '';
      tuned.control.value = state.tuned;
      tuned.field.hidden = lenses.length === 0;
      vocabulary = data.vocab_size;
    },
  });
  tool.results.append(h('div', { class: 'lenspanes' }, table.element, top.element), charts);

  const at = () => ({ row: Math.min(state.layer ?? rows.length - 1, rows.length - 1), column: Math.min(state.token ?? tokens.length - 1, tokens.length - 1) });
  function write() {
    setQuery({ site: state.site === 'stream' ? null : state.site, token: state.token, row: state.layer, shade: state.shade === 'probability' ? null : state.shade,
      tuned: state.tuned, follow: state.followed ? state.follow.join(',') : null });
  }
  function go(what) {
    Object.assign(state, what);
    write();
    tool.run();
  }
  function look(row, column) {
    const place = row === null ? at() : { row, column };
    const cell = columns[place.column]?.[place.row];
    if (cell) top.show({ name: rows[place.row].name, token: tokens[place.column], cell });
  }
  function pointRow(row) {
    followed.at(row ?? at().row);
    distance.at(row ?? at().row);
    look(row, at().column);
  }
  function choose(row, column, focus) {
    const other = column !== at().column;
    state.token = column;
    state.layer = row;
    write();
    table.choose(row, column, focus);
    if (other) {
      showDistance();
      loadFollowed();
    }
    pointRow(null);
  }
  function showDistance() {
    distance.show({ names: rows.map(({ name }) => name), cells: columns[at().column] });
  }
  // No tuned lens has a map for the embedding: the one of resid_pre.0 is called by that name.
  const sitesAsked = () => SITES[state.site].sites.filter((one) => one !== 'embed' || !state.tuned);
  const call = (body) => ({ prompt: tool.text(), sites: sitesAsked(), filter_non_word_tokens: false, ...(state.tuned ? { tuned: state.tuned } : {}), ...body });
  /** ids, or one-token texts that a person has typed. */
  function follow(list) {
    state.follow = list;
    state.followed = true;
    loadFollowed();
  }
  async function loadFollowed() {
    const { column } = at();
    if (!state.followed) state.follow = columns[column].at(-1).ids.slice(0, FOLLOWED);
    const signal = tool.lane.enter('follow');
    const body = call({ positions: [column], top_n: 1, track: state.follow, stream: false });
    showCommands();
    try {
      const { data } = await tool.during('Following tokens…', () => tool.ask({ path: '/v1/lens/prompt', body }, signal));
      state.follow = data.meta.track.map(({ id }) => id);
      write();
      followed.show({ names: rows.map(({ name }) => name), cells: cellsOf(data.tokens[0].results, rows), tokens: data.meta.track, vocabulary });
      followed.at(at().row);
    } catch (error) {
      if (error.name === 'AbortError') return;
      state.follow = state.follow.filter((one) => typeof one === 'number');
      followed.fail(error.message);
    }
  }
  function showCommands() {
    tool.curl.show([{ path: '/v1/lens/prompt', title: 'The table', body: call({ top_n: TOP, stream: false }) },
      { path: '/v1/lens/prompt', title: 'The followed tokens', body: call({ positions: [at().column], top_n: 1, track: state.follow, stream: false }) }]);
  }
  async function compute(text, { signal, onBusy }) {
    state.followed ??= state.follow.length > 0;
    charts.hidden = true;
    await requestStream('/v1/lens/prompt', { ...call({ top_n: TOP }), prompt: text, stream: true }, {
      signal, onBusy,
      onFrame(one) {
        if (one.kind === 'meta') {
          rows = depths(one.layers_by_site);
        } else if (one.kind === 'prompt') {
          tokens = one.tokens.map(({ token }) => token);
          columns = tokens.map(() => null);
          table.open(rows.map(({ name }) => name), tokens);
          tool.results.hidden = false;
          tool.results.classList.remove('stale');
        } else if (one.kind === 'token') {
          columns[one.position] = cellsOf(one.results, rows);
          table.fill(one.position, columns[one.position]);
          top.show({ name: rows.at(-1).name, token: one.token, cell: columns[one.position].at(-1) });
        }
      },
    });
    table.shade(state.shade);
    charts.hidden = false;
    const { row, column } = at();
    table.choose(row, column, false);
    showDistance();
    pointRow(null);
    await loadFollowed();
  }
  tool.start();
}
