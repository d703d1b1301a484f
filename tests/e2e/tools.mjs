// The tools around one text in headless Chromium: lens, steering, attention, the residual stream, tour.
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { launch, newPage } from './browser.mjs';
import { run, test } from './check.mjs';
import { MODEL, SOURCE, TEXT, TOKENS, WIDTH } from './demo.mjs';
import { startServer } from './server.mjs';
import { accessible, fits, forAxe, site, tabTo } from './site.mjs';

const FEATURE = 251; // King James Bible narrative
const BEGINNING = 'In the beginning God created';

const server = await startServer({ args: ['--no-auto-index'] });
const browser = await launch();
const { ask, at } = site(server, browser);

const query = (path, parameters) => `${path}?${new URLSearchParams(parameters)}`;
const done = (tab) => tab.locator('.results:not(.stale):not([hidden])').waitFor();
const token = (tab, position) => tab.locator(`.token[data-position="${position}"]`);
const near = (a, b) => assert.ok(Math.abs(a - b) <= 1e-6 * Math.max(1, Math.abs(b)), `${a} is not ${b}`);

test('tools: attention shows the weights that trace gives, by token, by cell and by head', async () => {
  await at(query('/attention', { text: TEXT, layer: '2' }), {}, async (tab) => {
    await done(tab);
    const { tensors } = await ask('/v1/trace', { prompt: TEXT, read: ['pattern.2'] });
    const { shape: [heads, , size], data } = tensors['pattern.2'];
    const weight = (head, from, to) => data[(head * size + from) * size + to];
    assert.equal(await tab.locator('.heads button').count(), heads);
    await tab.locator('.heads button').nth(1).click();
    await token(tab, 5).hover();
    const rows = tab.locator('#weights li');
    const first = await rows.first().evaluate(({ dataset }) => ({ ...dataset }));
    const best = Math.max(...Array.from({ length: 6 }, (_, to) => weight(1, 5, to)));
    near(Number(first.value), best);
    near(weight(1, 5, Number(first.position)), best);
    near(Number(await token(tab, 3).getAttribute('data-value')), weight(1, 5, 3));
    assert.ok(await tab.locator('.arcs path').count() > 0);
    await tab.locator('[data-by="to"]').click();
    await token(tab, 3).hover();
    near(Number(await token(tab, 7).getAttribute('data-value')), weight(1, 7, 3));
    const box = await tab.locator('.heat canvas').boundingBox();
    await tab.mouse.click(box.x + (2.5 * box.width) / size, box.y + (4.5 * box.height) / size);
    await tab.locator('#said', { hasText: weight(1, 4, 2).toFixed(4) }).waitFor();
    await tab.reload();
    await done(tab);
    assert.equal(await tab.locator('.heads [aria-checked="true"]').getAttribute('data-head'), '1');
    assert.equal(await tab.locator('#layer').inputValue(), '2');
    await tab.locator('#layer').selectOption('4');
    await tab.locator('#patterntitle', { hasText: 'Layer 4, head 1' }).waitFor();
  });
});

test('tools: a token’s rows as images, stepped through with the keyboard, with the numbers of trace', async () => {
  await at(query('/residual', { text: TEXT, token: '4' }), {}, async (tab) => {
    await done(tab);
    const { tensors } = await ask('/v1/trace', { prompt: TEXT, read: ['embed', 'resid_post.0', 'mlp_out.1'], positions: [4] });
    assert.equal(await tab.locator('.heat canvas').evaluate(({ width, height }) => `${width} x ${height}`), '16 x 16');
    const strongest = (name) => Math.max(...tensors[name].data.map(Math.abs));
    const top = () => tab.locator('.dims button').first();
    near(Math.abs(Number(await top().getAttribute('data-value'))), strongest('embed'));
    await tabTo(tab, '.film button');
    await tab.keyboard.press('ArrowRight');
    await tab.locator('#point', { hasText: 'resid_post.0' }).waitFor();
    near(Math.abs(Number(await top().getAttribute('data-value'))), strongest('resid_post.0'));
    await tabTo(tab, '.heat');
    await tab.keyboard.press('ArrowRight');
    await tab.keyboard.press('ArrowDown');
    near(Number(await tab.locator('#said .value').getAttribute('data-value')), tensors['resid_post.0'].data[16]);
    assert.equal(tensors.embed.data.length, WIDTH);
    await tab.locator('[data-site="mlp_out"]').click();
    await tab.locator('.film button').nth(1).click();
    await tab.locator('#point', { hasText: 'mlp_out.1' }).waitFor();
    await top().click();
    assert.match(tab.url(), /site=mlp_out&.*layer=1|layer=1&.*site=mlp_out/);
    const { url } = { url: tab.url() };
    await at(url.slice(server.base.length), {}, async (other) => {
      await other.locator('#point', { hasText: 'mlp_out.1' }).waitFor();
      near(Math.abs(Number(await other.locator('#said .value').getAttribute('data-value'))), strongest('mlp_out.1'));
    });
  });
});

test('tools: find a feature by words, steer with it, and read what the API gives', async () => {
  await at(query('/steer', { text: BEGINNING, temp: '0', n: '8' }), {}, async (tab) => {
    await tab.locator('#idle', { hasText: 'Choose a feature' }).waitFor();
    await tab.locator('#chathint', { hasText: 'base model' }).waitFor();
    await tab.locator('#find-feature').fill('king james');
    await tab.locator('#hits button', { hasText: String(FEATURE) }).waitFor();
    await tab.locator('#hits button', { hasText: String(FEATURE) }).click();
    await tab.locator(`.dial[data-feature="${SOURCE}:${FEATURE}"] .strength`).fill('20');
    await tab.locator('.strength').press('Enter');
    const ready = () => tab.locator('button.primary', { hasText: 'Generate' }).waitFor();
    await tab.waitForURL(new RegExp(`${SOURCE}%3A${FEATURE}%3A20`));
    await ready();
    await done(tab);
    const { outputs } = await ask('/v1/steer/completion', {
      prompt: BEGINNING, types: ['STEERED', 'DEFAULT'], features: [{ source: SOURCE, index: FEATURE, strength: 20 }], n_completion_tokens: 8,
      freq_penalty: 1, seed: 16, n_logprobs: 5, sources: [SOURCE], top_features: 5,
    });
    for (const output of outputs) {
      const column = tab.locator(`.continuation[data-type="${output.type}"]`);
      assert.equal((await column.locator('.generated').textContent()).replaceAll('↵\n', '\n'), output.output);
      const cell = column.locator('.tok').nth(2);
      await cell.hover();
      await tab.locator('.tip', { hasText: output.logprobs[2].logprob.toFixed(4) }).waitFor();
      const shown = await column.locator('.thoughts li').evaluateAll((all) => all.map(({ dataset }) => dataset.feature));
      assert.deepEqual(shown, output.tokens[2].top_features.map((one) => `${one.source}:${one.feature_index}`));
    }
    assert.notEqual(outputs[0].output, outputs[1].output);
    // A text that is typed while something else is changed is the one that is continued.
    await tab.locator('#text').fill(`${BEGINNING} the`);
    await tab.locator('.strength').fill('21');
    await tab.locator('.strength').press('Enter');
    await tab.locator('[data-type="DEFAULT"] .before', { hasText: `${BEGINNING} the` }).waitFor();
    await ready();
    await tab.locator('#text').fill(BEGINNING);
    await tab.locator('.strength').fill('20');
    await tab.locator('.strength').press('Enter');
    await tab.waitForURL(new RegExp(`${SOURCE}%3A${FEATURE}%3A20`));
    await ready();
    await done(tab);
    assert.equal(await tab.locator('.tok.fork').count(), 2);
    await tab.locator('.thoughts button').first().click();
    assert.ok(await tab.locator('.writing .tok').evaluateAll((all) => all.some(({ style }) => style.backgroundColor)));
    // The same from the address alone; and without the feature only one text is written.
    await tab.reload();
    await tab.locator('.tok').nth(15).waitFor();
    await tab.getByRole('button', { name: `Remove feature ${FEATURE}` }).click();
    await ready();
    await tab.locator('.continuation[data-type="STEERED"]').waitFor({ state: 'hidden' });
    assert.equal(await tab.locator('[data-type="DEFAULT"] .generated').textContent(), outputs[1].output);
  });
});

/** In the page: hands the frames of a stream over one by one, so that a fast machine has not ended before a person could act. */
function slowStreams() {
  const real = globalThis.fetch;
  globalThis.fetch = async (url, options) => {
    const response = await real(url, options);
    if (!String(url).includes('/v1/steer/') || !response.ok) return response;
    const slow = new TransformStream({
      async transform(text, out) {
        for (const frame of text.split(/(?<=\n\n)/)) {
          await new Promise((resolve) => setTimeout(resolve, 20));
          out.enqueue(frame);
        }
      },
    });
    const body = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(slow).pipeThrough(new TextEncoderStream());
    return new Response(body, { status: response.status, headers: response.headers });
  };
}

test('tools: a long text streams, and Stop ends it at once', async () => {
  const tab = await newPage(browser);
  try {
    await tab.addInitScript(slowStreams);
    await tab.goto(server.base + query('/steer', { text: BEGINNING, n: '200', temp: '0', freq: '0', features: `${SOURCE}:${FEATURE}:12` }));
    await tab.locator('.tok').nth(3).waitFor();
    await tab.locator('button.primary', { hasText: 'Stop' }).click();
    await tab.locator('.notice', { hasText: 'Stopped' }).waitFor();
    const count = await tab.locator('.tok').count();
    await tab.locator('button.primary', { hasText: 'Generate' }).waitFor();
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.equal(await tab.locator('.tok').count(), count);
    assert.ok(count < 400, String(count));
    assert.deepEqual(tab.problems, []);
  } finally {
    await tab.context().close();
  }
});

test('tools: a model with a chat template is talked to, turn by turn', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'darkmatter-chat-'));
  for (const name of ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer.model', 'tokenizer_config.json', 'darkmatter.json', 'saes']) {
    cpSync(join('demo', name), join(folder, name), { recursive: true });
  }
  const settings = JSON.parse(readFileSync(join(folder, 'tokenizer_config.json')));
  const template = "{{ bos_token }}{% for message in messages %}{{ '<start_of_turn>' + message['role'] + '\\n' + message['content'] + '<end_of_turn>\\n' }}{% endfor %}";
  writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify({ ...settings, chat_template: template }));
  const talker = await startServer({ args: ['--model', folder, '--saes', join(folder, 'saes')] });
  try {
    await site(talker, browser).at(query('/steer', { text: 'Who are you?', mode: 'chat', n: '6', features: `${SOURCE}:${FEATURE}:12` }), {}, async (tab) => {
      await tab.locator('#reply').waitFor();
      assert.equal(await tab.locator('[data-chat="true"]').getAttribute('aria-pressed'), 'true');
      await tab.locator('#reply').click();
      await tab.locator('#text:focus').fill('And then?');
      await tab.locator('#text').press('Enter');
      await tab.locator('#reply').waitFor();
      const column = tab.locator('[data-type="STEERED"]');
      assert.equal(await column.locator('.turn').count(), 3);
      assert.match(await column.locator('.turn').last().textContent(), /And then\?/);
      await tab.locator('#restart').click();
      await tab.waitForFunction(() => document.querySelectorAll('[data-type="STEERED"] .turn').length === 1);
    });
  } finally {
    await talker.stop();
    rmSync(folder, { recursive: true, force: true });
  }
});

test('tools: the lab shows what the SAE leaves unexplained of each token, and what that votes for', async () => {
  await at(query('/', { text: TEXT, source: SOURCE }), {}, async (tab) => {
    await tab.locator('#darkmatter:not([hidden])').waitFor();
    const reply = await ask('/v1/dark-matter', { prompt: TEXT, source: SOURCE, runs: [], top: 5 });
    const shown = await tab.locator('.token').evaluateAll((all) => all.map(({ dataset }) => Number(dataset.dark)));
    assert.deepEqual(shown, reply.rel_err);
    await token(tab, 4).hover();
    const said = tab.locator('#darkmatter');
    assert.equal(Number(await said.locator('strong').getAttribute('data-value')), reply.rel_err[4]);
    const pills = await said.locator('.pill.for').allTextContents();
    assert.deepEqual(pills, reply.votes[4].promoted.map((one) => one.token.replace(/^ /, '␣').replaceAll('\n', '↵')));
    await tab.locator('#dark').click();
    await tab.waitForURL(/dark=off/);
    assert.equal(await said.isVisible(), false);
    assert.equal(await tab.locator('.token[data-dark]').count(), 0);
    await tab.reload();
    await tab.locator('.token').first().waitFor();
    assert.equal(await tab.locator('#dark').getAttribute('aria-pressed'), 'false');
  });
});

/** The frames of /v1/lens/prompt of a text, as the page asks for them. */
const lensOf = async (body) => ask('/v1/lens/prompt', { prompt: TEXT, sites: ['embed', 'resid_post'], filter_non_word_tokens: false, stream: false, ...body });

test('tools: the lens shows what every layer would say, walked with the keyboard, and follows tokens', async () => {
  await at(query('/lens', { text: TEXT }), {}, async (tab) => {
    await tab.locator('#followed li').nth(2).waitFor();
    const { meta, tokens } = await lensOf({ top_n: 10 });
    const said = (position, row) => {
      const [embed, stream] = tokens[position].results;
      return row === 0 ? [embed.top_tokens[0], embed.top_probs[0]] : [stream.top_tokens[row - 1], stream.top_probs[row - 1]];
    };
    const rows = tab.locator('.lens tbody tr');
    assert.equal(await rows.count(), 1 + meta.layers_by_site.resid_post.length);
    for (const [row, position] of [[0, 3], [2, 5], [5, 12]]) {
      const cell = rows.nth(row).locator('td').nth(position);
      near(Number(await cell.getAttribute('data-p')), said(position, row)[1][0]);
    }
    const last = meta.layers_by_site.resid_post.length;
    const top = () => tab.locator('#top button').evaluateAll((all) => all.map(({ dataset }) => Number(dataset.value)));
    assert.deepEqual(await top(), said(12, last)[1]);
    await tabTo(tab, '.lens td');
    await tab.keyboard.press('ArrowUp');
    await tab.keyboard.press('ArrowLeft');
    assert.deepEqual(await top(), said(11, last - 1)[1]);
    await tab.waitForURL(/token=11&row=4|row=4.*token=11/);
    await tab.locator('#follow').fill(' God');
    await tab.locator('#follow').press('Enter');
    await tab.locator('#followed li').nth(3).waitFor();
    const followed = await lensOf({ positions: [11], track: [' God'], top_n: 1 });
    const shown = await tab.locator('#followed li').nth(3).evaluate(({ dataset }) => ({ ...dataset }));
    assert.equal(Number(shown.rank), followed.tokens[0].results[1].track_ranks[last - 2][0]);
    await tab.locator('#follow').fill('two words of text');
    await tab.locator('#follow').press('Enter');
    await tab.locator('.followsaid', { hasText: 'track' }).waitFor();
    await tab.locator('#shade').selectOption('kl');
    await tab.reload();
    await tab.locator('#followed li').nth(3).waitFor();
    assert.equal(await tab.locator('#shade').inputValue(), 'kl');
    assert.deepEqual(await top(), said(11, last - 1)[1]);
  });
});

/** A safetensors file of F32 tensors: [name, shape, data]. */
function writeSafetensors(path, tensors) {
  const header = {};
  let end = 0;
  for (const [name, shape, data] of tensors) {
    header[name] = { dtype: 'F32', shape, data_offsets: [end, end + 4 * data.length] };
    end += 4 * data.length;
  }
  const text = Buffer.from(JSON.stringify(header));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(text.length));
  writeFileSync(path, Buffer.concat([size, text, ...tensors.map(([, , data]) => Buffer.from(data.buffer))]));
}

test('tools: a tuned lens is switched to and back, and says where it has no map', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'darkmatter-tuned-'));
  const maps = [0, 1, 2, 3].flatMap((layer) => [
    [`resid_post.${layer}.weight`, [WIDTH, WIDTH], Float32Array.from({ length: WIDTH * WIDTH }, (_, i) => (i % (WIDTH + 1) === 1 ? 0.5 : 0))],
    [`resid_post.${layer}.bias`, [WIDTH], Float32Array.from({ length: WIDTH }, (_, i) => Math.sin(i + layer))]]);
  writeSafetensors(join(folder, 'turned.safetensors'), maps);
  const tuned = await startServer({ args: ['--no-auto-index', '--tuned-lens', join(folder, 'turned.safetensors')] });
  const { ask: askTuned, at: atTuned } = site(tuned, browser);
  try {
    await atTuned(query('/lens', { text: TEXT }), {}, async (tab) => {
      const first = (row) => tab.locator('.lens tbody tr').nth(row).locator('td').nth(4);
      const filled = (rows) => tab.waitForFunction((wanted) => document.querySelectorAll('.lens tbody tr').length === wanted && !document.querySelector('.lens td.open'), rows);
      await filled(6); // the embedding and five layers
      const plain = Number(await first(2).getAttribute('data-p'));
      assert.deepEqual(await tab.locator('#tuned option').allTextContents(), ['logit lens', 'tuned: turned']);
      await tab.locator('#tuned').selectOption('turned');
      await filled(5); // no map for the embedding
      const { tokens } = await askTuned('/v1/lens/prompt', { prompt: TEXT, sites: ['resid_post'], tuned: 'turned', filter_non_word_tokens: false, stream: false, top_n: 1 });
      for (const layer of [0, 1, 3]) near(Number(await first(layer).getAttribute('data-p')), tokens[4].results[0].top_probs[layer][0]);
      assert.notEqual(Number(await first(1).getAttribute('data-p')), plain);
      assert.match(await tab.locator('.curl pre').first().textContent(), /"tuned":"turned"/);
      await tab.waitForURL(/tuned=turned/);
      await tab.reload();
      await filled(5);
      assert.equal(await tab.locator('#tuned').inputValue(), 'turned');
      await tab.locator('#site').selectOption('mlp');
      await tab.locator('.notice', { hasText: 'no map for mlp_out.0' }).waitFor();
      await tab.locator('#site').selectOption('stream');
      await filled(5);
      await tab.locator('#tuned').selectOption('');
      await filled(6);
      near(Number(await first(2).getAttribute('data-p')), plain);
    });
  } finally {
    await tuned.stop();
    rmSync(folder, { recursive: true, force: true });
  }
});

test('tools: attribution adds up to the logit, by layer and by feature, for one token and for two', async () => {
  await at(query('/attribution', { text: TEXT, source: SOURCE, neurons: '2' }), {}, async (tab) => {
    await done(tab);
    const target = Number(await tab.locator('#target').inputValue());
    const reply = await ask('/v1/attribution', { prompt: TEXT, targets: [target], sources: [SOURCE], neuron_layer: 2, top: 10 });
    const part = async (name) => Number(await tab.locator(`[data-part="${name}"]`).getAttribute('data-value'));
    near(await part('embed'), reply.embed[0]);
    near(await part('attn.3'), reply.attn[3][0]);
    near(await part('mlp.1'), reply.mlp[1][0]);
    near(await part('sae_error'), reply.sae_error[SOURCE][0]);
    const [feature] = reply.features[SOURCE][0];
    near(await part(`feature ${feature.index}`), feature.value);
    near(await part(`neuron ${reply.neurons_top[0][0].index}`), reply.neurons_top[0][0].value);
    const { value, sum } = await tab.locator('#sum .value').evaluate(({ dataset }) => ({ ...dataset }));
    near(Number(value), reply.precap[0]);
    assert.ok(Math.abs(Number(sum) - Number(value)) < 1e-4, `${sum} is not ${value}`);
    await tab.locator('#against').selectOption({ index: 1 });
    await tab.locator('#sum', { hasText: 'difference' }).waitFor();
    const against = Number(await tab.locator('#against').inputValue());
    const both = await ask('/v1/attribution', { prompt: TEXT, targets: [target, against] });
    near(await part('embed'), both.embed[0] - both.embed[1]);
    await token(tab, 5).click();
    await tab.waitForURL(/token=5/);
    await done(tab);
    assert.equal(await tab.locator('#against').inputValue(), '');
  });
});

test('tools: the tour is walked to its end with the keyboard, and each step prints its command', async () => {
  await at('/tour', {}, async (tab) => {
    const steps = ['tokens', 'next', 'write', 'embedding', 'residual', 'lens', 'mlp', 'clamp', 'features', 'feature', 'splice', 'steer', 'dark'];
    const shown = (step) => tab.locator(`main[data-step="${step}"]`).waitFor();
    for (const step of steps) {
      await shown(step);
      assert.equal(await tab.locator('.notice:not([hidden])').count(), 0, step);
      assert.match(await tab.locator('.curl pre').first().textContent(), /^curl -s http/);
      assert.ok(await tab.locator('.stepbody .onward a').count() > 0, `${step} leads to no tool`);
      if (step === 'clamp') {
        const { body } = await tab.locator('.curl pre').last().evaluate((pre) => ({ body: JSON.parse(/-d '(.*)'$/s.exec(pre.textContent)[1]) }));
        const { outputs } = await ask('/v1/steer/completion', body);
        const first = tab.locator('.nextpane').last().locator('li').first();
        assert.equal(await first.getAttribute('data-token'), outputs[0].logprobs[0].top_logprobs[0].token);
      }
      await tab.keyboard.press('ArrowRight');
    }
    assert.match(tab.url(), /step=dark/);
    const text = 'The reliability of Wikipedia is very';
    const { rel_err: errors } = await ask('/v1/dark-matter', { prompt: text, source: '2-gemmascope-mlp-2k', runs: [] });
    assert.equal(Number(await tab.locator('.bignumber strong').getAttribute('data-value')), errors.at(-1));
    await tab.goBack();
    await shown('steer');
    await tab.locator('[data-step="features"]').click();
    await shown('features');
    await tab.reload();
    await shown('features');
    assert.ok(await tab.locator('.walked li').count() > 5);
    await tab.locator('[data-step="clamp"]').click();
    await shown('clamp');
    await tab.locator('.onward a').click(); // the tool opens on what the step was about
    await tab.locator('#point', { hasText: 'mlp_out.2' }).waitFor();
    await tab.locator('.through h3', { hasText: /^Dim \d+ through the layers$/ }).waitFor();
    assert.equal(await tab.locator('#text').inputValue(), text);
  });
});

/** Walks the tour from step to step with the button. */
async function walk(tab, steps, look) {
  for (let i = 1; i <= steps; i++) {
    await tab.locator('#where', { hasText: `${i} of ${steps}` }).waitFor();
    await tab.locator('main[data-step]').waitFor();
    assert.equal(await tab.locator('.notice:not([hidden])').count(), 0);
    await look(await tab.locator('main').getAttribute('data-step'));
    if (i < steps) await tab.locator('#next').click();
    else assert.equal(await tab.locator('#next').isVisible(), false);
  }
}

test('tools: the tour of gemma-2-2b has the published numbers beside the found ones; without SAEs it is shorter', async () => {
  const [video, bare] = await Promise.all([startServer({ args: ['--no-auto-index', '--model-id', 'gemma-2-2b'] }), startServer({ args: ['--model', 'demo'] })]);
  try {
    await site(video, browser).at('/tour', {}, async (tab) => {
      await walk(tab, 13, async (step) => {
        // What was published of another SAE is not held against this one.
        const theirs = ['next', 'lens', 'clamp', 'splice', 'steer'].includes(step) ? await tab.locator('.theirs').count() : null;
        if (step === 'next') assert.equal(await tab.locator('.next li[data-token=" important"] .theirs').textContent(), '20.21%');
        if (step === 'splice' || step === 'steer') assert.equal(theirs, 0, step);
        else if (theirs !== null) assert.ok(theirs > 0, step);
      });
    });
    await site(bare, browser).at('/tour', {}, async (tab) => {
      await walk(tab, 8, async (step) => {
        assert.ok(await tab.locator('.stepbody .onward a').count() > 0, step);
      });
    });
  } finally {
    await Promise.all([video.stop(), bare.stop()]);
  }
});

test('tools: the way from a feature’s page and from tool to tool, with the text', async () => {
  await at(`/${MODEL}/${SOURCE}/${FEATURE}`, {}, async (tab) => {
    await tab.locator('#steer').click();
    await tab.locator(`.dial[data-feature="${SOURCE}:${FEATURE}"]`).waitFor();
    await tab.locator('#text').fill(TEXT);
    await tab.locator('#text').press('Enter');
    await done(tab);
    await tab.locator('.rooms a', { hasText: 'Attention' }).click();
    await done(tab);
    assert.equal(await tab.locator('.rooms [aria-current="page"]').textContent(), 'Attention');
    assert.equal(await tab.locator('.token').count(), TOKENS.length);
    await tab.locator('.rooms a', { hasText: 'Lab' }).click();
    await tab.locator('.token').first().waitFor();
    assert.equal(await tab.locator('#text').inputValue(), TEXT);
  });
});

test('tools: what goes wrong is said, and a server that was away is asked again', async () => {
  await at(query('/steer', { text: BEGINNING, features: `${SOURCE}:99999:3` }), {}, async (tab) => {
    await tab.locator('.notice', { hasText: '99999' }).waitFor();
  });
  await at(query('/attention', { text: 'word '.repeat(400) }), {}, async (tab) => {
    await tab.locator('.notice', { hasText: '256' }).waitFor();
    await tab.route('**/v1/trace', (route) => route.abort());
    await tab.locator('#text').fill(TEXT);
    await tab.locator('#text').press('Enter');
    await tab.locator('.notice', { hasText: 'not running' }).waitFor();
    await tab.unroute('**/v1/trace');
    await tab.locator('.heads button').first().waitFor();
  });
});

const everywhere = {
  attention: query('/attention', { text: TEXT, layer: '2' }), residual: query('/residual', { text: TEXT, dim: '7' }),
  lens: query('/lens', { text: TEXT }), attribution: query('/attribution', { text: TEXT, neurons: '1' }), tour: '/tour?step=clamp', features: '/tour?step=features', steer: query('/steer', { text: BEGINNING, n: '4', features: `${SOURCE}:${FEATURE}:12` }),
};

test('tools: axe finds nothing serious, and nothing scrolls sideways at 400 pixels', async () => {
  for (const [colorScheme, width] of [['light', 1280], ['dark', 400]]) {
    for (const [name, path] of Object.entries(everywhere)) {
      await at(path, forAxe(colorScheme, width), async (tab) => {
        await tab.locator('.results:not(.stale):not([hidden]), main[data-step]').waitFor();
        await tab.waitForLoadState('networkidle');
        await accessible(tab, `${name}, ${colorScheme}, ${width}`);
        if (width === 400) await fits(tab, name);
      });
    }
  }
});

try {
  await run();
} finally {
  await browser.close();
  await server.stop();
}
