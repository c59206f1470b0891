/** The demo as a user runs it: a process, its output, its exit code, and nothing left behind. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { findProcessesOf } from '../demo/processes.ts'
import { skipWithoutAnvil } from '../support/chain/anvil.ts'
import { programFile, TEST_PROGRAMS } from '../support/runner/programs.ts'

const ROOT = new URL('../..', import.meta.url).pathname
const DEMO_MS = 600_000

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(realpathSync(tmpdir()), 'dvt-relayer-e2e-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** Starts the demo with a folder for temporary files that is ours alone. */
const startDemo = (...args: string[]) => start([process.execPath, programFile('test/demo/main.ts'), ...args])
/** The same as the README says it, with relayer and sidecars from the sources, as a clone runs them. */
const npmRunDemo = (...args: string[]) =>
  start(['npm', 'run', '--silent', 'demo', '--', ...args], { [TEST_PROGRAMS]: '' })

function start([command = '', ...args]: readonly string[], more: Record<string, string> = {}) {
  const child = spawn(command, args, {
    cwd: ROOT,
    env: { ...process.env, TMPDIR: folder, ...more },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  const looks = new Set<() => void>()
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString()
    for (const look of looks) look()
  })
  const closed = once(child, 'close').then(([code]) => code as number | null)
  return {
    child,
    /** Waits for a text in the output. */
    async says(text: string): Promise<void> {
      const said = Promise.withResolvers<void>()
      const look = () => output.includes(text) && said.resolve()
      looks.add(look)
      look()
      const ended = closed.then(() => Promise.reject(new Error(`the demo ended before it said "${text}":\n${output}`)))
      await Promise.race([said.promise, ended])
      looks.delete(look)
    },
    async ends(): Promise<{ code: number | null; output: string }> {
      return { code: await closed, output }
    },
    /** GET and POST of the lines that the demo offers. */
    offers: () =>
      [...output.matchAll(/^ {2}curl -s '?(http[^\s']+)'?(?:.*-d '(.*)')?/gm)].map(([, url, body]) => ({
        url: url ?? '',
        body,
      })),
  }
}

/** The demo's temporary folder is gone, and so is every process that had to do with it. */
function expectNothingLeft(): void {
  expect(readdirSync(folder)).toEqual([])
  expect(findProcessesOf(folder)).toEqual([])
}

test('generation 3: the whole story ends well, with every exit rebuilt and no secret in a log', {
  timeout: DEMO_MS,
}, async () => {
  const { code, output } = await npmRunDemo('--generation', '3').ends()
  expect(output).toContain('11 oracles decrypted and checked 110 shares.')
  expect(output).toContain('Any 7 of them rebuilt 10 exits, valid for validators 100 to 109 at epoch 0.')
  expect(output).toMatch(/None of \d{3,} secrets of this run stands in the \d{3,} lines/)
  expect(output).toMatch(/whole demo +\d+\.\d s/)
  expect(code).toBe(0)
  expectNothingLeft()
})

test('Ctrl-C while the relayer is dead leaves no PostgreSQL behind', { timeout: DEMO_MS }, async () => {
  const demo = startDemo()
  await demo.says('The relayer is killed')
  demo.child.kill('SIGINT')
  const { code, output } = await demo.ends()
  expect(output).toContain('Interrupted: everything is stopped and removed.')
  expect(code).toBe(130)
  expectNothingLeft()
})

test.skipIf(process.platform !== 'linux')(
  'a process that dies ends the demo with the reason and the last lines of its log',
  { timeout: DEMO_MS },
  async () => {
    const demo = startDemo()
    await demo.says('The relayer is ready')
    const isRelayer = (pid: number) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('apps/relayer/')
    const [relayer] = findProcessesOf(folder).filter(isRelayer)
    if (relayer === undefined) throw new Error('the relayer was not found')
    process.kill(relayer, 'SIGKILL')
    const { code, output } = await demo.ends()
    expect(output).toContain('The demo failed: relayer ended by itself (SIGKILL)')
    expect(output).toMatch(/The last lines of its log:\n {2}.*relayer started/s)
    expect(code).toBe(1)
    expectNothingLeft()
  },
)

test.skipIf(skipWithoutAnvil)(
  'generation 4: the whole story ends well; --keep leaves it running with things to try, until Ctrl-C',
  { timeout: DEMO_MS },
  async () => {
    const demo = startDemo('--generation', '4', '--keep')
    await demo.says('Logs: ')
    const offers = demo.offers().filter(({ url }) => !url.includes('after=N'))
    expect(offers.length).toBeGreaterThanOrEqual(12)
    for (const { url, body } of offers) {
      const headers = { 'content-type': 'application/json' }
      const status = async () => (await fetch(url, body === undefined ? {} : { method: 'POST', headers, body })).status
      // A check that a busy machine does not answer in time makes `/ready` 503 for a moment.
      await expect.poll(status, { message: url }).toBe(200)
    }
    demo.child.kill('SIGINT')
    const { code, output } = await demo.ends()
    expect(output).toContain('The consensus side checked the deposit signatures and has validators 100 to 104.')
    expect(output).toContain("A stranger's deposit took index 105 just before")
    expect(output).toContain('The consensus side checked the deposit signatures and has validators 106 to 110.')
    expect(output).toContain('11 oracles decrypted and checked 110 shares.')
    expect(output).toContain('valid for validators 100 to 104 and 106 to 110 at epoch 0.')
    expect(output).toMatch(/None of \d{3,} secrets of this run stands in the \d{3,} lines/)
    expect(output).toContain('Everything is stopped, with exit code 0, and removed.')
    expect(code).toBe(0)
    expectNothingLeft()
  },
)

test.skipIf(skipWithoutAnvil)(
  'a cluster with a sidecar, an existing one, charon alone and a node that is down: the whole story ends well',
  { timeout: DEMO_MS },
  async () => {
    const { code, output } = await startDemo('--mixed').ends()
    expect(output).toContain('Node 2 asked for its list once and posted its signatures.')
    expect(output).toContain('Node 3 did what charon deposit sign and charon exit sign --all do, with no token')
    expect(output).toContain('The consensus side checked the deposit signatures and has validators 100 to 104.')
    expect(output).toContain('Any 7 of them rebuilt 5 exits, valid for validators 100 to 104 at epoch 0.')
    expect(code).toBe(0)
    expectNothingLeft()
  },
)

test('a generation that does not exist is refused', async () => {
  const { code, output } = await startDemo('--generation', '5').ends()
  expect([code, output]).toEqual([1, ''])
})
