/** `doctor`: what a relayer needs, what is wrong, and what to do. It changes nothing: no row and no file is written, no job added. */

import { messageOf } from '@dvt-relayer/common/errors.ts'
import { count, finding, type Report, reportOf } from '@dvt-relayer/common/findings.ts'
import { withTimeout } from '@dvt-relayer/common/process/lifetime.ts'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import { type RelayerConfig, readConfig } from '../config.ts'
import { countLeftOnFirst } from '../services/database-place.ts'
import { examineClusters } from './clusters.ts'
import { examineClock, examineDatabase, openToRead, type ReadDatabase } from './database.ts'
import { examineFiles } from './files.ts'
import type { Check, Finding } from './findings.ts'
import { examineOracleSet, findOracleConfigs } from './logs/oracle-set.ts'
import { examineRegistry } from './logs/registry.ts'
import { examineSsv } from './logs/ssv.ts'
import { withUpdates } from './logs/updates.ts'
import { examineConsensus, examineExecution, examineIpfs } from './nodes.ts'
import { examineQueue } from './queue.ts'
import { examineSealing } from './sealing.ts'
import { examineTokens } from './tokens.ts'
import { examineManager, examineRotation } from './wallets.ts'
import { examineKeys, examineWorkers } from './workers.ts'

/** What one check may take. */
const CHECK_MS = 30_000

/** Finds out everything at once. Never throws: what goes wrong is a finding. */
export async function examine(environment: Environment): Promise<Report<Check>> {
  let config: RelayerConfig
  let warnings: string[]
  try {
    ;({ config, warnings } = readConfig(environment))
  } catch (error) {
    return reportOf<Check>(null, [finding('settings', 'problem', messageOf(error))])
  }
  const stop = new AbortController()
  await using database = await openToRead(config.storage)
  try {
    return reportOf(config.network.name, [
      settingsFinding(config, warnings),
      ...(await Promise.all(checksOf(config, environment, database, stop.signal))),
    ])
  } finally {
    // What was given up goes on no longer.
    stop.abort()
  }
}

function settingsFinding({ network, role, vaults }: RelayerConfig, warnings: string[]): Finding {
  const forVaults = vaults === undefined ? 'any vault' : count(vaults.length, 'vault')
  const message = `NETWORK=${network.name}, ROLE=${role}, for ${forVaults}`
  return finding('settings', warnings.length > 0 ? 'warning' : 'good', message, { details: warnings })
}

/** All checks, each begun and bounded. What needs the database says so where that is away. */
function checksOf(
  config: RelayerConfig,
  environment: Environment,
  database: ReadDatabase,
  signal: AbortSignal,
): Promise<Finding>[] {
  const { db } = database
  const oracleConfigs = findOracleConfigs(config, db)
  const withDb = (check: Check, look: (open: NonNullable<typeof db>) => Promise<Finding>): Promise<Finding> =>
    db === undefined
      ? Promise.resolve(finding(check, 'unused', 'not known without the database'))
      : bounded(check, look(db))
  return [
    bounded('files', async () => examineFiles(config, environment)),
    bounded('clusters', () => examineClusters(config)),
    bounded('tokens', async () => examineTokens(config)),
    bounded('database', async () => withPlace(await examineDatabase(database, config.storage.dataDir), db)),
    withDb('sealing', (open) => examineSealing(config, open)),
    bounded('queue', () => examineQueue(config)),
    bounded('execution', () => examineExecution(config, signal)),
    bounded('consensus', () => examineConsensus(config)),
    bounded('ipfs', async () => examineIpfs(config, await oracleConfigs, signal)),
    bounded('oracle_set', async () => examineOracleSet(await oracleConfigs)),
    bounded('ssv', () => examineSsv(config, db, signal)),
    withDb('registry', (open) => examineRegistry(config, open)),
    withDb('clock', examineClock),
    withDb('workers', examineWorkers),
    bounded('manager', () => examineManager(config, db)),
    withDb('keys', (open) => examineKeys(config, open)),
    bounded('rotation', async () => withUpdates(await examineRotation(config, signal), config, db, signal)),
  ]
}

async function bounded(check: Check, work: Promise<Finding> | (() => Promise<Finding>)): Promise<Finding> {
  try {
    return await withTimeout(typeof work === 'function' ? work() : work, CHECK_MS)
  } catch (error) {
    return finding(check, 'problem', messageOf(error))
  }
}

/** The finding of the database, a problem where it is a copy that no relayer starts on. */
async function withPlace(found: Finding, db: ReadDatabase['db']): Promise<Finding> {
  // Of a database that is wrong otherwise, or has no tables, nothing more is asked.
  if (db === undefined || found.status === 'problem' || Number(found.facts['migrations'] ?? 0) === 0) return found
  if ((await countLeftOnFirst(db)) === 0) return found
  const problem = `${db.host}: it is a copy of another database, made while a relayer ran on that: no relayer starts on it before npm run relayer -- adopt-copy --yes`
  return { ...found, status: 'problem', message: problem }
}
