import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, it, onTestFinished } from 'vitest'

/** In a process of its own: the module starts its threads once. Prints how nice the main thread is, and those that the module started. */
const PROGRAM = `
import { readdirSync, readFileSync } from 'node:fs'
import { getPriority } from 'node:os'
import { createBlstEngine } from '${import.meta.resolve('@dvt-relayer/crypto/bls/blst.ts')}'
import { startNativeThreads } from '${import.meta.dirname}/native-threads.ts'
import { startCryptoPool } from '${import.meta.dirname}/pool.ts'

// Field 19, counted from the third, which follows the name.
const niceOf = (id) => {
  const stat = readFileSync('/proc/self/task/' + id + '/stat', 'utf8')
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16])
}
const engine = createBlstEngine()
const pool = startCryptoPool(1)
// The worker is there, and has checked nothing.
await pool.arePublicKeys([new Uint8Array(48)])
const before = new Set(readdirSync('/proc/self/task'))
await startNativeThreads(pool, engine)
const secretKey = new Uint8Array(32).fill(3)
const messages = [1, 2].map((byte) => new Uint8Array(32).fill(byte))
const publicKey = engine.publicKeyOf(secretKey)
engine.verifyBatch(messages.map((message) => ({ publicKey, message, signature: engine.sign(secretKey, message) })))
const added = readdirSync('/proc/self/task').filter((id) => !before.has(id))
console.log(JSON.stringify({ main: getPriority(), added: added.map(niceOf) }))
await pool[Symbol.asyncDispose]()
`

it.skipIf(process.platform !== 'linux')(
  'get the priority of the workers, whoever checks signatures later',
  async () => {
    const dir = await mkdtemp(join(tmpdir(), 'native-threads-'))
    onTestFinished(() => rm(dir, { recursive: true }))
    const file = join(dir, 'program.mjs')
    await writeFile(file, PROGRAM)
    const { stdout } = await promisify(execFile)(process.execPath, [file])
    const { main, added } = JSON.parse(stdout) as { main: number; added: number[] }
    expect(added.length).toBeGreaterThan(0)
    expect(Math.min(...added)).toBeGreaterThan(main)
  },
)
