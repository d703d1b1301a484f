// The real program, on a free port with a database of its own.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const START_MS = 30000;

function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer().on('error', reject).listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

async function healthy(base, child) {
  const until = Date.now() + START_MS;
  while (Date.now() < until) {
    if (child.exitCode !== null) throw new Error(`the server ended with ${child.exitCode}`);
    const answer = await fetch(`${base}/health`).catch(() => null);
    if (answer?.ok) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`no answer from ${base}/health within ${START_MS / 1000} s`);
}

/** @returns {Promise<{base: string, port: number, db: string, log: () => string, stop: (signal?: string) => Promise<void>}>} */
export async function startServer({ args = [], env = {}, port } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'darkmatter-e2e-'));
  const on = port ?? (await freePort());
  const base = `http://127.0.0.1:${on}`;
  const program = process.env.DARKMATTER ?? './darkmatter';
  const child = spawn(program, ['serve', '--port', String(on), '--db', join(folder, 'test.db'), ...args], {
    env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  child.stdout.on('data', (chunk) => { output += chunk; });
  child.stderr.on('data', (chunk) => { output += chunk; });
  const ended = new Promise((resolve) => { child.on('exit', resolve); child.on('error', resolve); });

  async function stop(signal = 'SIGTERM') {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    await ended;
    rmSync(folder, { recursive: true, force: true });
  }
  try {
    await healthy(base, child);
  } catch (error) {
    await stop('SIGKILL');
    throw new Error(`${program}: ${error.message}\n${output}`);
  }
  return { base, port: on, db: join(folder, 'test.db'), log: () => output, stop };
}
