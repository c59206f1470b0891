import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it, onTestFinished } from 'vitest'

/** In a process of its own: priorities are of its threads. Prints how nice the main thread is, and those that `run` has started. */
const program = (imports: string, run: string) => `
import { readdirSync, readFileSync } from 'node:fs'
import { getPriority } from 'node:os'
${imports}

// Field 19, counted from the third, which follows the name.
const niceOf = (id) => {
  const stat = readFileSync('/proc/self/task/' + id + '/stat', 'utf8')
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16])
}
let before = new Set(readdirSync('/proc/self/task'))
const print = () => {
  const added = readdirSync('/proc/self/task').filter((id) => !before.has(id))
  console.log(JSON.stringify({ main: getPriority(), added: added.map(niceOf) }))
}
${run}
`

/** The module starts its threads once. */
const CHECKING = program(
  `
import { createBlstEngine } from '${import.meta.resolve('@dvt-relayer/crypto/bls/blst.ts')}'
import { startNativeThreads } from '${import.meta.dirname}/native-threads.ts'
import { startCryptoPool } from '${import.meta.dirname}/pool.ts'`,
  `
const engine = createBlstEngine()
const pool = startCryptoPool(1)
// The worker is there, and has checked nothing.
await pool.arePublicKeys([new Uint8Array(48)])
before = new Set(readdirSync('/proc/self/task'))
await startNativeThreads(pool, engine)
const secretKey = new Uint8Array(32).fill(3)
const messages = [1, 2].map((byte) => new Uint8Array(32).fill(byte))
const publicKey = engine.publicKeyOf(secretKey)
engine.verifyBatch(messages.map((message) => ({ publicKey, message, signature: engine.sign(secretKey, message) })))
print()
await pool[Symbol.asyncDispose]()`,
)

/** A thread that imports files looks for the database, before it reads any. */
const IMPORTING = program(
  `
import { createServer } from 'node:net'
import { importInThread } from '${import.meta.dirname}/../services/clusters/import-in-thread.ts'`,
  `
const server = createServer(() => {
  print()
  process.exit()
})
server.listen(0, '127.0.0.1', () => {
  const url = 'postgres://nobody@127.0.0.1:' + server.address().port + '/nothing'
  void importInThread({ config: {} }, url, new AbortController().signal)
})`,
)

async function runProgram(text: string): Promise<{ main: number; added: number[] }> {
  const dir = await mkdtemp(join(tmpdir(), 'native-threads-'))
  onTestFinished(() => rm(dir, { recursive: true }))
  const file = join(dir, 'program.mjs')
  await writeFile(file, text)
  const { stdout } = await promisify(execFile)(process.execPath, [file])
  return JSON.parse(stdout) as { main: number; added: number[] }
}

describe.skipIf(process.platform !== 'linux')('on Linux', () => {
  it('native threads get the priority of the workers, whoever checks signatures later', async () => {
    const { main, added } = await runProgram(CHECKING)
    expect(added.length).toBeGreaterThan(0)
    expect(Math.min(...added)).toBeGreaterThan(main)
  })

  it('a thread that imports files gives way, so that those it starts do too', async () => {
    const { main, added } = await runProgram(IMPORTING)
    expect(Math.max(...added)).toBeGreaterThan(main)
  })
})
