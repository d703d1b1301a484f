// A test runner of one screen: test() registers, run() runs in order and prints a line a test.
const tests = [];

export function test(name, body) {
  tests.push({ name, body });
}

/** Runs every test whose name contains the FILTER variable; the exit status says if all passed. */
export async function run() {
  let passed = 0;
  let failed = 0;
  for (const { name, body } of tests) {
    if (!name.includes(process.env.FILTER ?? '')) continue;
    try {
      await body();
      passed++;
      console.log(`ok      ${name}`);
    } catch (error) {
      failed++;
      console.log(`NOT OK  ${name}\n        ${String(error.stack ?? error).split('\n').slice(0, 6).join('\n        ')}`);
    }
  }
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed ? 1 : 0;
}
