/** What the rows run on: one PostgreSQL, one chain, one big cluster, and relayers and sidecars as processes. */

import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { ExitsResponse, ValidatorsResponse } from '@dvt-relayer/api/schemas.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import type { MadeCluster } from '../support/keys/make-cluster.ts'
import { makeCluster } from '../support/keys/make-cluster.ts'
import { createTestDatabase, startTestPostgres, TEST_DATABASE_URL } from '../support/services/postgres.ts'
import type { AppProcess } from '../support/services/process.ts'
import { RELAYER_FLAGS, startProcess, startProgram } from '../support/services/process.ts'
import type { KeyedValidator } from '../support/world/nodes.ts'
import { partialExit } from '../support/world/nodes.ts'
import type { World } from '../support/world/world.ts'
import { startWorld } from '../support/world/world.ts'
import { benchCrypto, type Row } from './crypto.ts'
import { send, sendJson } from './measure.ts'

export const NODES = 4
export const THRESHOLD = 3
/** Validators of the one cluster all rows share: enough for the row that needs most. */
const VALIDATORS = 1300

/** A relayer process that is ready. */
export interface RunningRelayer extends AsyncDisposable {
  readonly url: string
  readonly pid: number
  readonly databaseUrl: string
  readonly process: AppProcess
  /** From the start of the process to the first 200 of `/health` and of `/ready`. */
  readonly startMs: { health: number; ready: number }
}

export interface Stage extends AsyncDisposable {
  readonly dir: string
  /** URL of the PostgreSQL server. */
  readonly serverUrl: string
  /** A line beside the table, while it is measured. */
  say(line: string): void
  /** What rows say of relayers and sidecars that are as images have them. */
  readonly bundled: '' | ', bundled'
  world(): Promise<World>
  cluster(): Promise<MadeCluster>
  /** One of its own. */
  makeCluster(name: string, validators: number): Promise<MadeCluster>
  /** The cryptography of one validator's exit, measured in this process, once a run: every row has the same native sum. */
  crypto(): Promise<Row[]>
  /** CPU of the native sum of it. */
  nativeSumMs(): Promise<number>
  /** Starts a relayer, on a database of its own and without locks unless told; with so many signature threads where a number is given, from the sources. */
  startRelayer(more?: Environment, threads?: number): Promise<RunningRelayer>
  /** The same with the cluster's lock. */
  startClusterRelayer(more?: Environment): Promise<RunningRelayer>
  /** Starts the sidecar of a node (from 0), of the one cluster unless told, and waits until it knows the relayer's list. */
  startSidecar(node: number, relayerUrl: string, more?: Environment): Promise<AppProcess>
}

/** Makes each part when it is first asked for. */
const lazily = <T>(make: () => Promise<T>): (() => Promise<T>) => {
  let made: Promise<T> | undefined
  return () => {
    made ??= make()
    return made
  }
}

/** A relayer whose number of signature threads is given. */
const OF_THREADS = fileURLToPath(new URL('./relayer-of-threads.ts', import.meta.url))

const asNodeOptions = (...flags: string[]): Environment => {
  const text = flags.join(' ').trim()
  return text === '' ? {} : { NODE_OPTIONS: text }
}

/**
 * Prepares the stage; only PostgreSQL is started at once.
 *
 * @param options `nodeOptions`: flags of Node for every relayer; empty for those a user has. `profiling`: the same for relayers and sidecars.
 * `isBundled`: relayers and sidecars as images have them
 */
export async function createStage(options: {
  nodeOptions: string
  profiling: string
  isBundled: boolean
  say(line: string): void
}): Promise<Stage> {
  await using stack = new AsyncDisposableStack()
  const dir = await mkdtemp(join(tmpdir(), 'dvt-bench-'))
  stack.defer(() => rm(dir, { recursive: true, force: true }))
  const server = stack.use(await startTestPostgres())
  process.env[TEST_DATABASE_URL] = server.url
  const resources = stack.move()
  const flags = asNodeOptions(options.profiling, options.nodeOptions)
  const sidecarFlags = asNodeOptions(options.profiling)

  const crypto = lazily(() => benchCrypto())
  const world = lazily(async () => resources.use(await startWorld()))
  async function makeNamed(name: string, validators: number): Promise<MadeCluster> {
    options.say(`making a cluster of ${validators} validators`)
    const { network } = await world()
    return makeCluster({
      dir: join(dir, name),
      nodes: NODES,
      threshold: THRESHOLD,
      validators,
      network,
      withdrawalAddress: randomBytes(20),
      feeRecipient: randomBytes(20),
      name,
    })
  }
  const cluster = lazily(() => makeNamed('bench', VALIDATORS))

  async function startRelayer(more: Environment = {}, threads?: number): Promise<RunningRelayer> {
    await using owned = new AsyncDisposableStack()
    const databaseUrl = more['DATABASE_URL'] ?? owned.use(await createTestDatabase()).url
    const environment = (await world()).environment({
      DATABASE_URL: databaseUrl,
      SIGNATURE_THRESHOLD: String(THRESHOLD),
      ...flags,
      ...more,
    })
    const started = performance.now()
    const app =
      threads === undefined
        ? startProcess(options.isBundled ? 'bundled relayer' : 'relayer', environment)
        : startProgram('relayer', [...RELAYER_FLAGS, OF_THREADS, String(threads)], {
            LOG_FORMAT: 'json',
            ...environment,
          })
    owned.defer(async () => {
      await app.end('SIGTERM')
    })
    const { url } = await app.logged('relayer started')
    if (typeof url !== 'string') throw new Error('the relayer does not say where it listens')
    const health = await untilOk(url, '/health', started)
    const ready = await untilOk(url, '/ready', started)
    const kept = owned.move()
    return {
      url,
      pid: app.child.pid ?? 0,
      databaseUrl,
      process: app,
      startMs: { health, ready },
      [Symbol.asyncDispose]: () => kept.disposeAsync(),
    }
  }

  return {
    dir,
    serverUrl: server.url,
    say: options.say,
    bundled: options.isBundled ? ', bundled' : '',
    world,
    cluster,
    makeCluster: makeNamed,
    crypto,
    nativeSumMs: async () => (await crypto())[0]?.native_sum_ms ?? Number.NaN,
    startRelayer,
    startClusterRelayer: async (more = {}) => startRelayer({ CLUSTER_LOCK_FILES: (await cluster()).lockFile, ...more }),
    async startSidecar(node, relayerUrl, more = {}) {
      const files = more['OBOL_CLUSTER_LOCK_FILE'] === undefined ? (await cluster()).nodes[node] : undefined
      const app = startProcess(options.isBundled ? 'bundled sidecar' : 'sidecar', {
        NETWORK: (await world()).network.name,
        RELAYER_ENDPOINT: relayerUrl,
        OBOL_KEYSTORES_DIR: files?.keystoresDir,
        OBOL_CLUSTER_LOCK_FILE: files?.lockFile,
        ...sidecarFlags,
        ...more,
      })
      try {
        await app.logged('relayer knows long polling')
      } catch (error) {
        await app[Symbol.asyncDispose]()
        throw error
      }
      // It ends as a user ends it: one that is killed leaves no profile.
      return {
        ...app,
        [Symbol.asyncDispose]: async () => {
          await app.end('SIGTERM')
        },
      }
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  }
}

/** Milliseconds since `started` until a path answers 200; at most a minute. */
async function untilOk(url: string, path: string, started: number): Promise<number> {
  while (performance.now() - started < 60_000) {
    if ((await send(url, path)).status === 200) return performance.now() - started
    await sleep(5)
  }
  throw new Error(`${path} does not answer 200 within a minute`)
}

/** Public keys as requests have them. */
export const keysOf = (validators: readonly KeyedValidator[]): string[] =>
  validators.map(({ publicKey }) => toHex(publicKey))

/** Asks for exits as an operator does; returns them as the list shows them. */
export async function requestExits(
  url: string,
  validators: readonly KeyedValidator[],
): Promise<Map<string, { validatorIndex: number }>> {
  const keys = keysOf(validators)
  await sendJson(url, '/validators', { public_keys: keys })
  const wanted = new Set(keys)
  const { exits } = await sendJson<ExitsResponse>(url, '/exits')
  return new Map(
    exits
      .filter(({ public_key: key }) => wanted.has(key))
      .map((exit) => [exit.public_key, { validatorIndex: exit.validator_index }]),
  )
}

/** The body of one node's post for these validators. */
export function signedBody(
  network: World['network'],
  validators: readonly KeyedValidator[],
  exits: ReadonlyMap<string, { validatorIndex: number }>,
  shareIndex: number,
): string {
  const shares = validators.map((validator) => {
    const publicKey = toHex(validator.publicKey)
    const validatorIndex = exits.get(publicKey)?.validatorIndex
    if (validatorIndex === undefined) throw new Error('an exit that was asked for is not listed')
    return { public_key: publicKey, exit_signature: partialExit(network, validator, shareIndex, validatorIndex) }
  })
  return JSON.stringify({ share_index: shareIndex, shares })
}

/**
 * Follows the list by long polling until all these exits are ready, then fetches their oracle shares as the operator does.
 *
 * @returns when how many became ready, milliseconds of `performance.now`, and when the shares were there
 */
export async function untilReady(
  url: string,
  validators: readonly KeyedValidator[],
): Promise<{ steps: { at: number; count: number }[]; doneAt: number }> {
  const keys = keysOf(validators)
  const open = new Set(keys)
  const steps: { at: number; count: number }[] = []
  let after: number | undefined
  const deadline = performance.now() + 120_000
  while (open.size > 0) {
    if (performance.now() > deadline) throw new Error(`${open.size} exits are not ready within two minutes`)
    const list = await sendJson<ExitsResponse>(url, after === undefined ? '/exits' : `/exits?wait=20&after=${after}`)
    const before = open.size
    for (const exit of list.exits) if (exit.is_exit_signature_ready) open.delete(exit.public_key)
    if (open.size < before) steps.push({ at: performance.now(), count: before - open.size })
    after = list.revision
  }
  const answer = await sendJson<ValidatorsResponse>(url, '/validators', { public_keys: keys })
  if (!answer.ready) throw new Error('exits are ready without oracle shares')
  return { steps, doneAt: performance.now() }
}
