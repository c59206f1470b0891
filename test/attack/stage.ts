/** What attacks run on: a relayer as a process with a database of its own, tokens for all roles, keys of a vault, and an oracle's shares. */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { createToken } from '../../apps/relayer/src/http/auth/tokens.ts'
import { type Child, startChild } from '../support/child.ts'
import { loadFixtureCluster } from '../support/keys/fixtures.ts'
import { createTestKeys } from '../support/keys/keys.ts'
import { nextIndex } from '../support/operator/operator.ts'
import { startProcess } from '../support/services/process.ts'
import { addRegistered } from '../support/stages/manager.ts'
import { addressOf, pathOf } from '../support/stages/oracle-fetch.ts'
import {
  engine,
  getExits,
  partialExit,
  postShares,
  postValidators,
  publicKeysOf,
  sidecarRound,
  untilOracleSet,
  untilShares,
} from '../support/world/nodes.ts'
import { startVaultWorld } from '../support/world/vault-world.ts'
import { ask } from '../support/world/world.ts'
import type { HonestCaller, Scene, Victim } from './attack.ts'
import type { Asked, Asking } from './honest.ts'

export interface AttackStage extends AsyncDisposable {
  readonly scene: Scene
  readonly network: string
  readonly honest: Child<Asking, Asked>
  readonly relayer: Victim
  /** Everything that the relayer printed. */
  output(): string
  query<T extends object = Record<string, unknown>>(text: string, values?: readonly unknown[]): Promise<T[]>
  /** What the relayer says of itself. */
  metrics(): Promise<string>
  /** What it holds of its callers' bodies and answers. */
  heldBytes(): Promise<number>
  /** A sidecar of a relayer, whose `/health` is asked. */
  startSidecar(relayerUrl: string): Promise<Victim>
}

/** Keys that an operator polls, each with all its shares; that three nodes sign; that nobody has signed. */
const [POLLED, SIGNED, MANY] = [10, 20, 500]
const POINTS = 64
const MANAGED = 6
const FOREIGN = `0x${'bb'.repeat(20)}`
const OTHER = `0x${'cc'.repeat(20)}`
const THRESHOLD = 3
const NODES = [1, 2, 3] as const

/** Starts all of it. `nodeOptions`: flags of Node for the relayer; none but those a user has unless given. */
export async function createAttackStage(nodeOptions = ''): Promise<AttackStage> {
  await using stack = new AsyncDisposableStack()
  const world = stack.use(await startVaultWorld({ oracles: 3, threshold: 2 }))
  const vault = await world.deployVault()
  const made = {
    nodes: NODES.map((index) => createToken(`node-${index}`, 'sidecar', String(index))),
    attacker: createToken('attacker', 'sidecar', '4'),
    anyNode: createToken('any-node', 'sidecar', '*'),
    operator: createToken('operator', 'operator', vault.address),
    second: createToken('second', 'operator', vault.address),
    foreign: createToken('foreign', 'operator', FOREIGN),
    other: createToken('other', 'operator', OTHER),
    admin: createToken('admin', 'admin', '*'),
  }
  const bearer = ({ token }: { token: string }) => ({ authorization: `Bearer ${token}` })
  const [polled, signed] = [POLLED, SIGNED].map((count) => createTestKeys(count, { nodes: 4, threshold: THRESHOLD }))
  if (polled === undefined || signed === undefined) throw new Error('no keys')
  const many = publicKeysOf(createTestKeys(MANY, { nodes: 0, threshold: 1 }))
  const own = [...publicKeysOf(polled), ...publicKeysOf(signed), ...many]
  const [registered = ''] = publicKeysOf(createTestKeys(1, { nodes: 4, threshold: THRESHOLD }))
  const [tokensFile, keysFile] = [join(world.dir, 'tokens'), join(world.dir, 'keys')]
  await writeFile(
    tokensFile,
    Object.values(made)
      .flat()
      .map(({ line }) => line)
      .join('\n'),
  )
  await writeFile(keysFile, [...own.map((key) => `${key} ${vault.address}`), `${registered} ${OTHER}`].join('\n'))

  // Before the relayer is there: an index of an exit that comes into use later makes it void.
  const managed: string[] = []
  for (let count = 0; count < MANAGED; count++) managed.push(await addRegistered(world, vault))
  const app = stack.use(
    startProcess(
      'relayer',
      world.environment({
        SIGNATURE_THRESHOLD: String(THRESHOLD),
        // What charon posts is signed in its body only: strangers may send that too.
        CLUSTER_LOCK_FILES: loadFixtureCluster('cluster-4').lockFile,
        OBOL_API: 'on',
        AUTH_TOKENS_FILE: tokensFile,
        PUBLIC_URL: 'https://relayer.example',
        PUBLIC_KEYS_FILE: keysFile,
        ...(nodeOptions === '' ? {} : { NODE_OPTIONS: nodeOptions }),
      }),
    ),
  )
  stack.defer(async () => {
    await app.end('SIGTERM')
  })
  const { url } = await app.logged('relayer started')
  if (typeof url !== 'string') throw new Error('the relayer does not say where it listens')
  await untilOracleSet(url, bearer(made.admin))

  // An operator has its shares, nodes have posted theirs, and a vault has been given a key.
  const good = (answer: { status: number; text: string } | undefined) => {
    if (answer?.status !== 200) throw new Error(`${answer?.status} ${answer?.text}`)
  }
  const ofOperator = bearer(made.operator)
  good(await postValidators(url, own, ofOperator))
  for (const [position, node] of made.nodes.entries())
    good(await sidecarRound(url, world.network, polled, position + 1, bearer(node)))
  await untilShares(url, publicKeysOf(polled), ofOperator)
  const indexes = new Map((await getExits(url, ofNode(0))).map((exit) => [exit.public_key, exit.validator_index]))
  function ofNode(position: number) {
    const node = made.nodes[position]
    if (node === undefined) throw new Error('no such node')
    return bearer(node)
  }
  /** The right shares of one node, for a third of the keys: none gets enough of them, so they stay wanted. */
  const sharesOf = (position: number) =>
    signed
      .filter((_, n) => n % NODES.length === position)
      .map((validator) => {
        const public_key = toHex(validator.publicKey)
        const index = indexes.get(public_key) ?? 0
        return { public_key, exit_signature: partialExit(world.network, validator, position + 1, index) }
      })
  for (const position of made.nodes.keys())
    good(await postShares(url, position + 1, sharesOf(position), ofNode(position)))
  const asked = {
    vault: OTHER,
    validators_start_index: nextIndex(world.beacon),
    amounts: [32_000_000_000],
    validator_type: '0x01',
  }
  const given = await ask(url, '/register', { body: asked, headers: bearer(made.other) })
  good(given)
  const deposits = await world.query(`select from messages where kind = 'deposit'`)
  if (deposits.length !== 1) throw new Error(`no key was handed out: ${given.text}`)
  const callers: HonestCaller[] = [
    {
      who: 'operator’s poll',
      path: '/validators',
      token: made.operator.token,
      body: JSON.stringify({ public_keys: publicKeysOf(polled) }),
      has: '"ready":true',
    },
    ...made.nodes.flatMap(({ token }, position) => [
      { who: 'sidecars’ lists', path: '/exits', token, isFollowing: true, has: '"exits":[' },
      {
        who: 'sidecars’ posts',
        path: '/exit-signature',
        token,
        body: JSON.stringify({ share_index: position + 1, shares: sharesOf(position) }),
        // And no failures.
        has: '{}',
      },
    ]),
    ...world.oracles.map((oracle) => ({
      who: 'oracles’ fetches',
      path: pathOf(addressOf(oracle)),
      oracle: toHex(oracle.secretKey),
      has: '"encrypted_exit_signature":"0x',
    })),
    { who: '/health', path: '/health', has: '{' },
  ]
  const metrics = async () => (await ask(url, '/metrics', { headers: bearer(made.admin) })).text
  const honest = stack.use(startChild<Asking, Asked>('test/attack/honest.ts'))
  const resources = stack.move()
  return {
    scene: {
      url,
      tokens: {
        node: made.attacker.token,
        anyNode: made.anyNode.token,
        operator: made.second.token,
        foreign: made.foreign.token,
      },
      vaults: { own: vault.address, foreign: FOREIGN },
      keys: { many, signed: publicKeysOf(signed), registered },
      managed,
      points: Array.from({ length: POINTS }, (_, n) =>
        toHex(engine.sign(new Uint8Array(32).fill(1).with(31, n + 1), new Uint8Array(32).fill(7))),
      ),
    },
    network: world.network.name,
    honest,
    relayer: { pid: app.child.pid ?? 0, url, callers, [Symbol.asyncDispose]: async () => {} },
    output: app.output,
    query: world.query,
    metrics,
    async heldBytes() {
      return [...(await metrics()).matchAll(/^dvt_relayer_held_bytes\{.*\} (\d+)/gm)].reduce(
        (sum, [, held]) => sum + Number(held),
        0,
      )
    },
    async startSidecar(relayerUrl) {
      const { nodes } = loadFixtureCluster('cluster-4')
      const sidecar = startProcess('sidecar', {
        NETWORK: 'hoodi',
        RELAYER_ENDPOINT: relayerUrl,
        OBOL_KEYSTORES_DIR: nodes[0]?.keystoresDir ?? '',
        GENERATION: '3',
        SIDECAR_PORT: '0',
        POLL_INTERVAL: '1',
      })
      const { url: at } = await sidecar.logged('sidecar started')
      return {
        pid: sidecar.child.pid ?? 0,
        url: String(at),
        callers: [{ who: '/health', path: '/health', has: '{' }],
        [Symbol.asyncDispose]: () => sidecar[Symbol.asyncDispose](),
      }
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  }
}
