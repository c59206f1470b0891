/** What `doctor` finds of the Keeper's oracle configs: which is the newest, and whether a node may have left out a newer one. */

import { createExecutionClient, type ExecutionClient } from '@dvt-relayer/chain/execution/execution.ts'
import { createConfigLook } from '@dvt-relayer/chain/stakewise/keeper.ts'
import { messageOf } from '@dvt-relayer/common/errors.ts'
import { finding } from '@dvt-relayer/common/findings.ts'
import { withTimeout } from '@dvt-relayer/common/process/lifetime.ts'
import type { Database } from '@dvt-relayer/db/connect.ts'
import { findCurrentOracleSet } from '@dvt-relayer/db/queries/oracle-shares.ts'
import { createAnnouncements } from '../../chain.ts'
import type { RelayerConfig } from '../../config.ts'
import { deniedWords, findAnnounced, NOT_ANNOUNCED } from '../../services/oracles/sets.ts'
import type { Finding } from '../findings.ts'

/** What one answer may take, a scan since the last checkpoint, and a look at every node by itself. */
const PATIENCE_MS = { answer: 15_000, scan: 18_000, each: 8_000 }

interface Config {
  readonly cid: string
  readonly blockNumber: number
}

/** What the chain says: the newest that it has announced, which node denies it, why there may be a newer one, or that it does not answer. */
interface Announced {
  newest?: Config | undefined
  denial?: string
  doubt?: string | undefined
  error?: unknown
}

/** What is known of configs. What the chain says never rejects. */
export interface OracleConfigs {
  /** The one in force, by the database. */
  readonly current: Config | undefined
  /** By the first node that answers. */
  readonly announced: Promise<Announced>
  /** The same, once each node was asked for more. */
  readonly known: Promise<Announced>
}

/** On a chain of years, where no relayer has looked yet. */
const LATE = new Error(`the Keeper's events were not read within ${PATIENCE_MS.scan / 1000} s`)

/** Asks database and chain. */
export async function findOracleConfigs(
  { execution: settings, network }: RelayerConfig,
  db: Database | undefined,
): Promise<OracleConfigs> {
  const timeoutMs = Math.min(settings.timeoutMs, PATIENCE_MS.answer)
  const execution = createExecutionClient({ ...settings, timeoutMs, retryTimeoutMs: 0, network })
  // Of a database without tables nothing is asked.
  const read = await (db &&
    findCurrentOracleSet(db)
      .then((set) => ({ db, set }))
      .catch(() => undefined))
  const look = findAnnounced({ db: read?.db, oracleSets: createAnnouncements(execution, network) })
  const announced = withTimeout<Announced>(look, PATIENCE_MS.scan, () => LATE).catch((error: unknown) => ({ error }))
  const known = announced.then(async (first) => ({ ...first, ...(await askEach(execution, network, first)) }))
  return { current: read?.set, announced, known }
}

/** What a node by itself has announced after the newest that is known, where that answers soon. */
async function askEach(
  execution: ExecutionClient,
  network: RelayerConfig['network'],
  { newest, denial, doubt, error }: Announced,
): Promise<Announced> {
  if (execution.each.length < 2 || (denial ?? error) !== undefined) return {}
  const look = createConfigLook(execution, network)
  // It leaves the first round to what is new, which has been asked for.
  await look.look(newest)
  const older = await withTimeout(look.look(newest), PATIENCE_MS.each).catch(() => undefined)
  return older === undefined ? {} : { newest: older.config ?? newest, doubt: doubt ?? older.doubt }
}

/** The oracle configs: is the newest in force, and could there be one that no node shows? In the words of `/ready`. */
export async function examineOracleSet({ current, known }: OracleConfigs): Promise<Finding> {
  const { newest, denial, doubt, error } = await known
  const problem = (message: string) =>
    finding('oracle_set', 'problem', message, {
      details: current === undefined ? [] : [`the oracle config ${current.cid} stays in force`],
    })
  if (error !== undefined && current === undefined && error !== LATE)
    return problem(`no oracle config yet: ${messageOf(error)}`)
  if (error !== undefined)
    return finding('oracle_set', 'warning', `whether there is a newer oracle config is not known: ${messageOf(error)}`)
  if (denial !== undefined) return problem(deniedWords(denial))
  if (doubt !== undefined) return problem(doubt)
  const last = newest ?? current
  if (last === undefined) return problem(NOT_ANNOUNCED)
  const announced = `the oracle config ${last.cid} of block ${last.blockNumber}`
  if (current === undefined)
    return finding('oracle_set', 'good', `${announced} is the newest that the Keeper has announced`)
  if (last.cid !== current.cid && last.blockNumber >= current.blockNumber)
    return finding('oracle_set', 'warning', `${announced} is not in force yet: /ready of a relayer says why`)
  return finding('oracle_set', 'good', `the oracle config ${current.cid} of block ${current.blockNumber} is in force`)
}
