// The dark matter of a text: under each token the share of its row that the SAE leaves unexplained,
// and, of the token that is looked at, what that remainder votes for.
import { h } from './dom.js';
import { exact, visible } from './format.js';

const FAINT = 0.06;
const percent = (share) => `${(100 * share).toFixed(1)}%`;

function votes(list, sign, words) {
  const most = Math.max(...list.map(({ logit }) => Math.abs(logit)), 1e-9);
  return list.length ? [h('span', { class: 'muted' }, words), ...list.map(({ token, logit }) => {
    const pill = h('span', { class: `pill ${sign}`, title: `${JSON.stringify(token)}: ${exact(logit)}` }, visible(token));
    pill.style.setProperty('--part', (Math.abs(logit) / most).toFixed(3));
    return pill;
  })] : [];
}

/** @param row tokenRow's element; onToggle(whether it is to be shown) */
export function darkStrip(row, { onToggle }) {
  const button = h('button', { type: 'button', class: 'plain', id: 'dark', title: 'The grey bar under each token: how much of it the SAE leaves unexplained', onclick: () => onToggle(button.getAttribute('aria-pressed') !== 'true') }, 'Dark matter');
  const said = h('p', { class: 'darksaid' });
  const voted = h('p', { class: 'darkvotes' });
  const element = h('div', { class: 'dark', id: 'darkmatter', hidden: true }, said, voted);
  let data = null;

  const cells = () => [...row.querySelectorAll('.token')];
  function clear() {
    data = null;
    element.hidden = true;
    row.classList.remove('darkened');
    for (const cell of cells()) delete cell.dataset.dark;
  }
  /** What of one token is unexplained; null leaves what is there. */
  function inspect(at) {
    if (!data || at === null || at >= data.tokens.length) return;
    const fvu = data.fvu_token[at];
    said.replaceChildren('The SAE leaves ', h('strong', { 'data-value': exact(data.rel_err[at]) }, percent(data.rel_err[at])), ' of ', h('span', { class: 'chip' }, visible(data.tokens[at])), ' unexplained',
      h('span', { class: 'muted' }, ` |error| ${data.err_norm[at].toFixed(2)}${fvu === null ? '' : ` · FVU ${fvu.toFixed(3)}`} · cosine ${data.cosine[at].toFixed(3)} · ${data.l0[at]} features`));
    const both = data.votes?.[at];
    const share = data.err_share?.[at];
    voted.replaceChildren(...(both ? [...votes(both.promoted, 'for', 'The error votes for'), ...votes(both.suppressed, 'against', 'against'),
      ...(share === null || share === undefined ? [] : [h('span', { class: 'muted' }, `· ${share < -5e-4 ? '−' : ''}${percent(Math.abs(share))} of the logit of `),
        h('span', { class: 'chip' }, visible(data.argmax_token[at])), h('span', { class: 'muted' }, 'the likeliest next')])] : []));
  }
  return {
    element, button, inspect, clear,
    enabled(yes) {
      button.setAttribute('aria-pressed', String(yes));
      if (!yes) clear();
    },
    /** @param reply of /v1/dark-matter */
    show(reply, at) {
      data = reply;
      row.classList.add('darkened');
      cells().forEach((cell, i) => {
        cell.dataset.dark = exact(data.rel_err[i]);
        cell.style.setProperty('--dark', Math.min(1, Math.max(FAINT, data.rel_err[i])).toFixed(3));
      });
      element.hidden = false;
      inspect(at);
    },
    fail(words) {
      clear();
      element.hidden = false;
      said.replaceChildren(h('span', { class: 'muted' }, words));
      voted.replaceChildren();
    },
  };
}
