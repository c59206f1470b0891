/**
 * Everything around a relayer, real where it can be: an EVM node with a Keeper, a consensus and an IPFS stand-in, an oracle
 * set, a database of its own; and relayers in this process on top of it.
 */

import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Network } from '@dvt-relayer/chain/networks.ts'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import pg from 'pg'
import { readConfig } from '../../../apps/relayer/src/config.ts'
import { type CryptoPool, startCryptoPool } from '../../../apps/relayer/src/crypto-workers/pool.ts'
import type { Overrides, Relayer } from '../../../apps/relayer/src/relayer.ts'
import { startRelayer } from '../../../apps/relayer/src/relayer.ts'
import { PATIENCE_MS } from '../../demo/wait.ts'
import type { Anvil, Keeper } from '../chain/anvil.ts'
import { deployKeeper, startAnvil } from '../chain/anvil.ts'
import type { Beacon } from '../chain/beacon.ts'
import { startBeacon } from '../chain/beacon.ts'
import type { Ipfs } from '../chain/ipfs.ts'
import { startIpfs } from '../chain/ipfs.ts'
import type { TestOracle } from '../chain/oracles.ts'
import { makeOracles, oracleConfig } from '../chain/oracles.ts'
import { createRelayerDatabase } from '../services/postgres.ts'
import { QUICK_MS, REQUEST_PATIENCE_MS } from '../services/quick.ts'

let pool: CryptoPool | undefined

/** One thread for all relayers of this process that come without their own: to start and end one costs as much as the rest of a relayer. */
function sharedCryptoPool(): CryptoPool {
  pool ??= startCryptoPool(1)
  return pool
}

/** The outside of a relayer. */
export interface World extends AsyncDisposable {
  readonly network: Network
  readonly anvil: Anvil
  readonly keeper: Keeper
  readonly beacon: Beacon
  readonly ipfs: Ipfs
  /** The oracles in force, in order. */
  readonly oracles: readonly TestOracle[]
  readonly databaseUrl: string
  /** A folder of this world. */
  readonly dir: string
  /** The environment a relayer of this world runs with. */
  environment(more?: Environment): Environment
  /** Starts a relayer in this process; disposed by the caller. */
  startRelayer(more?: Environment, overrides?: Overrides): Promise<Relayer>
  /** Runs SQL on its database, past the relayer. */
  query<T extends object = Record<string, unknown>>(text: string, values?: readonly unknown[]): Promise<T[]>
  /** Announces a new oracle set. */
  announce(oracles: readonly TestOracle[], threshold: number): Promise<string>
}

/** How many oracles the world has and how many of them are enough; 11 and 7 unless given. */
export interface OracleNumbers {
  oracles?: number
  threshold?: number
}

/** Starts a world on a built-in network, with so many validators; 100 unless given. */
export async function startWorld(
  options: OracleNumbers & { network?: Network; validators?: number } = {},
): Promise<World> {
  const network = options.network ?? networks.hoodi
  await using stack = new AsyncDisposableStack()
  const anvil = stack.use(await startAnvil({ chainId: network.chainId, firstBlock: network.keeperBlock }))
  const keeper = await deployKeeper(anvil, network)
  const { validators = 100 } = options
  const beacon = stack.use(await startBeacon({ network, validators }))
  const ipfs = stack.use(await startIpfs())
  const dir = await makeWorldDir(stack)
  return await completeWorld(stack, { network, anvil, keeper, beacon, ipfs, dir }, options)
}

/** A folder that goes with the world. */
export async function makeWorldDir(stack: AsyncDisposableStack): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'dvt-world-'))
  stack.defer(() => rm(dir, { recursive: true, force: true }))
  return dir
}

/**
 * Adds the oracles and the database to the chain, and takes over what is on the stack.
 *
 * @param settings of the relayer besides those that every world gives it
 */
export async function completeWorld(
  stack: AsyncDisposableStack,
  chain: Pick<World, 'network' | 'anvil' | 'keeper' | 'beacon' | 'ipfs' | 'dir'>,
  options: OracleNumbers,
  settings: Environment = {},
): Promise<World> {
  const { network, anvil, keeper, beacon, ipfs, dir } = chain
  const database = stack.use(await createRelayerDatabase())
  const connections = new pg.Pool({ connectionString: database.url, max: 2 })
  connections.on('error', () => undefined)
  stack.defer(() => connections.end())
  const sealingKey = randomBytes(32).toString('hex')
  const announce = async (set: readonly TestOracle[], threshold: number) => {
    const cid = ipfs.add(oracleConfig(set, threshold))
    await keeper.setConfig(cid)
    return cid
  }
  const oracles = makeOracles(options.oracles ?? 11)
  await announce(oracles, options.threshold ?? 7)
  const environment = (more: Environment = {}): Environment => ({
    NETWORK: network.name,
    RELAYER_PORT: '0',
    EXECUTION_ENDPOINT: anvil.url,
    CONSENSUS_ENDPOINT: beacon.url,
    IPFS_FETCH_ENDPOINTS: ipfs.url,
    EXECUTION_TIMEOUT: '60',
    EXECUTION_RETRY_TIMEOUT: '5',
    CONSENSUS_TIMEOUT: '60',
    CONSENSUS_RETRY_TIMEOUT: '2',
    IPFS_TIMEOUT: '60',
    IPFS_RETRY_TIMEOUT: '5',
    DATABASE_URL: database.url,
    DATA_DIR: dir,
    SEALING_KEY: sealingKey,
    ...settings,
    ...more,
  })
  const resources = stack.move()
  return {
    ...chain,
    oracles,
    databaseUrl: database.url,
    environment,
    async query<T extends object>(text: string, values: readonly unknown[] = []) {
      return (await connections.query(text, [...values])).rows as T[]
    },
    async startRelayer(more, overrides = {}) {
      const { config } = readConfig(environment(more))
      const workers = overrides.threads === undefined ? { crypto: sharedCryptoPool() } : {}
      const quick = { intervalsMs: QUICK_MS, patienceMs: REQUEST_PATIENCE_MS }
      return startRelayer(config, { logger: silentLogger, ...quick, ...workers, ...overrides })
    },
    announce,
    [Symbol.asyncDispose]: () => resources[Symbol.asyncDispose](),
  }
}

/** An answer with its body read. */
export interface Answer {
  status: number
  headers: Headers
  text: string
  json: unknown
}

/** Sends a request as a client of any language would. `body` is sent as JSON unless it is text or bytes already. */
export async function ask(
  url: string,
  path: string,
  options: { method?: string; body?: unknown; headers?: Record<string, string>; signal?: AbortSignal } = {},
): Promise<Answer> {
  const isRaw = typeof options.body === 'string' || options.body instanceof Uint8Array
  const response = await fetch(`${url}${path}`, {
    method: options.method ?? (options.body === undefined ? 'GET' : 'POST'),
    redirect: 'manual',
    ...(options.body === undefined ? {} : { body: isRaw ? (options.body as string) : JSON.stringify(options.body) }),
    headers: { ...(options.body === undefined ? {} : { 'content-type': 'application/json' }), ...options.headers },
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  })
  const text = await response.text()
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    json = undefined
  }
  return { status: response.status, headers: response.headers, text, json }
}

/** Between two looks of `eventually`: soon at first, and not so often that looking keeps others from their work. */
const LOOK_MS = { first: 10, most: 100 }

/** Asks `look` again and again until it gives something; fails after `timeoutMs`. Only for what nobody announces. */
export async function eventually<T>(
  what: string,
  look: () => Promise<T | undefined>,
  timeoutMs = PATIENCE_MS,
): Promise<T> {
  const deadline = performance.now() + timeoutMs
  for (let waitMs = LOOK_MS.first; ; waitMs = Math.min(1.5 * waitMs, LOOK_MS.most)) {
    const found = await look()
    if (found !== undefined) return found
    if (performance.now() > deadline) throw new Error(`not seen within ${timeoutMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, waitMs))
  }
}

/** Hex of a key as the wire has it. */
export const hex = toHex
