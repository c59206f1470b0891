/**
 * A cluster whose keys no network reaches: relayer and commands as a user runs them, the keys on a machine without network (a namespace
 * without interfaces where there is one, and every attempt to connect ends the process), and the files carried between the two.
 */

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Hex } from 'viem'
import { expect, it, onTestFinished } from 'vitest'
import { createToken } from '../../apps/relayer/src/http/auth/tokens.ts'
import { findFreePorts } from '../demo/ports.ts'
import { skipWithoutAnvil } from '../support/chain/anvil.ts'
import { type FixtureCluster, loadFixtureCluster } from '../support/keys/fixtures.ts'
import { isReady, nextIndex, registerOnChain } from '../support/operator/operator.ts'
import { untilAnswered, untilComplete } from '../support/operator/patient-operator.ts'
import { programFile } from '../support/runner/programs.ts'
import { startProcess } from '../support/services/process.ts'
import { getExits, postValidators, untilOracleSet, untilShares } from '../support/world/nodes.ts'
import { prepareProcesses } from '../support/world/registration-processes.ts'
import { startVaultWorld } from '../support/world/vault-world.ts'
import { startWorld } from '../support/world/world.ts'

const TEST_MS = 600_000
/** Whoever connects to anything, or looks a name up, ends with 99. */
const NO_NETWORK = `data:text/javascript,${encodeURIComponent(`
import net from 'node:net'
import dns from 'node:dns'
const end = (what) => () => { process.stderr.write('the network was used: ' + what); process.exit(99) }
net.Socket.prototype.connect = end('connect')
net.Server.prototype.listen = end('listen')
dns.lookup = end('lookup')
`)}`
/** Runs what follows without any network interface, where this machine lets it. */
const UNSHARE = spawnSync('unshare', ['-rn', 'true']).status === 0 ? ['unshare', '-rn'] : []

async function run(
  app: 'relayer' | 'sidecar',
  args: readonly string[],
  environment: Record<string, string> = {},
): Promise<{ code: number | null; text: string }> {
  const words = app === 'sidecar' ? [...UNSHARE, process.execPath, '--import', NO_NETWORK] : [process.execPath]
  const [program = '', ...rest] = [...words, programFile(`apps/${app}/src/main.ts`), ...args]
  const child = spawn(program, rest, {
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let text = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      text += chunk.toString()
    })
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, text }
}

/** Carries one bundle of a node (from 0) there and back. Returns what the three commands said. */
async function carry(
  cluster: FixtureCluster,
  node: number,
  { url, dir, network, tokenFile }: { url: string; dir: string; network: string; tokenFile?: string },
) {
  const share = node + 1
  const [request, signed] = [join(dir, `bundle-${share}.json`), join(dir, `signed-${share}.json`)]
  const at = ['--relayer', url, ...(tokenFile === undefined ? [] : ['--token-file', tokenFile])]
  const lock = ['--cluster-lock', cluster.lockFile]
  const made = await run('relayer', ['bundle', ...at, ...lock, '--share-index', String(share), '--out', request])
  const done = await run('sidecar', ['sign-bundle', '--in', request, '--out', signed], {
    NETWORK: network,
    OBOL_KEYSTORES_DIR: cluster.nodes[node]?.keystoresDir ?? '',
    JOURNAL_FILE: join(dir, `journal-${share}`),
  })
  const taken = await run('relayer', ['take-bundle', ...at, '--in', signed])
  return { made, done, taken, signed }
}

it('exits become ready by bundles alone, with a token for each node', { timeout: TEST_MS }, async () => {
  const cluster = loadFixtureCluster('cluster-4')
  const world = await startWorld()
  onTestFinished(() => world[Symbol.asyncDispose]())
  const [port = 0] = await findFreePorts(1)
  const url = `http://127.0.0.1:${port}`
  const operator = createToken('operator', 'operator', '*')
  const nodes = [1, 2, 3].map((share) => createToken(`node-${share}`, 'sidecar', String(share)))
  const tokens = join(world.dir, 'tokens')
  writeFileSync(tokens, [operator, ...nodes].map(({ line }) => `${line}\n`).join(''))
  await using relayer = startProcess(
    'relayer',
    world.environment({
      RELAYER_PORT: String(port),
      CLUSTER_LOCK_FILES: cluster.lockFile,
      AUTH_TOKENS_FILE: tokens,
    }),
  )
  await relayer.logged('relayer started')
  const headers = { authorization: `Bearer ${operator.token}` }
  await untilOracleSet(url, headers)
  const keys = cluster.expected.validators.slice(0, 3).map(({ public_key }) => public_key)
  expect((await postValidators(url, keys, headers)).status).toBe(200)
  for (const [node, { token }] of nodes.entries()) {
    const tokenFile = join(world.dir, `token-${node}`)
    writeFileSync(tokenFile, `${token}\n`)
    const said = await carry(cluster, node, { url, dir: world.dir, network: 'hoodi', tokenFile })
    expect(said.done.text).not.toContain('the network was used')
    expect([said.made.code, said.done.code, said.taken.code], JSON.stringify(said)).toEqual([0, 0, 0])
    expect(said.taken.text).toContain('3 validators handed in')
    const again = await run('relayer', [
      'take-bundle',
      '--relayer',
      url,
      '--token-file',
      tokenFile,
      '--in',
      said.signed,
    ])
    expect(again).toEqual({
      code: 0,
      text: expect.stringMatching(/the relayer has these signatures already|not asked/),
    })
  }
  await untilShares(url, keys, headers)
  const sidecarOf1 = { authorization: `Bearer ${nodes[0]?.token}` }
  const listed = (await getExits(url, sidecarOf1)).filter(({ public_key }) => keys.includes(public_key))
  expect(listed.map((item) => item.is_exit_signature_ready)).toEqual([true, true, true])
  // Node 2's file is refused with node 1's token, by the relayer's own word.
  const foreign = await run('relayer', [
    ...['take-bundle', '--relayer', url, '--token-file', join(world.dir, 'token-0')],
    ...['--in', join(world.dir, 'signed-2.json')],
  ])
  expect(foreign).toEqual({ code: 7, text: expect.stringContaining('it is that of another node') })
  // Nothing of a key is in what is carried, and nothing of a signature in what is said.
  const signature = /"exit_signature": "(0x[0-9a-f]{192})"/.exec(readFileSync(join(world.dir, 'signed-1.json'), 'utf8'))
  expect(signature).not.toBeNull()
  expect(relayer.output()).not.toContain(signature?.[1]?.slice(2) ?? '')
  expect(await relayer.end('SIGTERM')).toBe(0)
})

it.skipIf(skipWithoutAnvil)(
  'validators are registered with deposits that were signed in bundles; the journal binds them',
  { timeout: TEST_MS },
  async () => {
    const cluster = loadFixtureCluster('cluster-4')
    const world = await startVaultWorld()
    onTestFinished(() => world[Symbol.asyncDispose]())
    const vault = await world.deployVault({ address: cluster.expected.withdrawal_address as Hex })
    const processes = await prepareProcesses(world, cluster, vault.address)
    onTestFinished(() => processes[Symbol.asyncDispose]())
    const { url } = processes
    await processes.startRelayer()
    const request = {
      vault: vault.address,
      startIndex: nextIndex(world.beacon),
      amounts: [32e9, 32e9],
      type: '0x01' as const,
    }
    expect(isReady(await untilAnswered(url, request))).toBe(false)
    for (const node of [0, 1, 2]) {
      const said = await carry(cluster, node, { url, dir: world.dir, network: world.networkFile })
      expect([said.made.code, said.done.code, said.taken.code], JSON.stringify(said)).toEqual([0, 0, 0])
      expect(said.done.text).toContain('2 of them with a deposit')
    }
    const answer = await untilComplete(url, request)
    expect(await registerOnChain(vault, '0x01', answer)).toMatchObject({ ok: true })
    for (const share of [1, 2, 3])
      expect(readFileSync(join(world.dir, `journal-${share}`), 'utf8').toLowerCase()).toContain(
        vault.address.toLowerCase(),
      )
  },
)
