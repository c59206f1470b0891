/** What `doctor` finds of relayers at work on the database, and of the keys they have left for each vault. */

import { count, finding } from '@dvt-relayer/common/findings.ts'
import { timeText } from '@dvt-relayer/common/time-text.ts'
import { VERSION } from '@dvt-relayer/common/version.ts'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import type { Database } from '@dvt-relayer/db/connect.ts'
import { findNamedNodes } from '@dvt-relayer/db/queries/attendance/nodes-seen.ts'
import { findProcesses } from '@dvt-relayer/db/queries/attendance/processes.ts'
import { countTables } from '@dvt-relayer/db/queries/doctor/contents.ts'
import { lookAtServer } from '@dvt-relayer/db/queries/doctor/server.ts'
import { countKeysLeft } from '@dvt-relayer/db/queries/messages/registrations.ts'
import type { RelayerConfig } from '../config.ts'
import { LATE_SECONDS, SILENCE_SECONDS } from '../services/attendance/heartbeat.ts'
import { findUnserved } from '../services/registrations/unserved.ts'
import { type Finding, firstOf } from './findings.ts'
import { vaultsOf } from './wallets.ts'

const MOST_PROCESSES = 1000
const DAY_SECONDS = 86_400
/** With fewer keys left it is time to make more. */
const FEW_KEYS = 10
const IN_VAIN = 'vaults ask for validators and get none: see docs/operating/runbook.md#a-vault-gets-no-keys'
const KEYS_REMEDY = 'import the lock of a cluster with more (CLUSTER_LOCK_FILES), or list more (PUBLIC_KEYS_FILE)'

const hasTable = async (db: Database, table: string) => (await countTables(db, [table])).get(table) !== undefined

/** The processes of the database by their heartbeats: does one finish what is collected, and are all of one version? */
export async function examineWorkers(db: Database): Promise<Finding> {
  const all = (await hasTable(db, 'processes')) ? await findProcesses(db, SILENCE_SECONDS, MOST_PROCESSES) : []
  const there = all.filter(({ isThere }) => isThere)
  const named = (await hasTable(db, 'nodes_seen')) ? await findNamedNodes(db, DAY_SECONDS, MOST_PROCESSES) : []
  const keyed = named.filter(({ cameBy }) => cameBy !== 'token')
  const factOf = ({ name, shareIndex, seenSeconds, cameBy }: (typeof named)[number]) => ({
    name,
    share_index: shareIndex,
    came_by: cameBy,
    seen_at: timeText(seenSeconds),
  })
  const facts = {
    ...(keyed.length > 0 && { nodes_by_key: keyed.map(factOf) }),
    ...(keyed.length < named.length && {
      nodes_by_token: named.filter(({ cameBy }) => cameBy === 'token').map(factOf),
    }),
    processes: there.map(({ role, version, startedSeconds, lastSeconds }) => ({
      role,
      version,
      started_at: timeText(startedSeconds),
      heard_at: timeText(lastSeconds),
    })),
  }
  const [last] = all
  if (last === undefined)
    return finding('workers', 'unused', 'no relayer has run on this database yet: npm start starts one', { facts })
  if (there.length === 0)
    return finding(
      'workers',
      'warning',
      `no relayer runs on this database since ${timeText(last.lastSeconds)}: npm start starts one`,
      {
        facts,
      },
    )
  if (there.every(({ role }) => role === 'api')) {
    const lastWorker = all.find(({ role }) => role !== 'api')
    const since = lastWorker === undefined ? 'has ever been there' : `since ${timeText(lastWorker.lastSeconds)}`
    return finding(
      'workers',
      'problem',
      `no process of the role worker or all ${since}: nothing is finished; start one with ROLE=worker`,
      { facts },
    )
  }
  const versions = [...new Set(there.map(({ version }) => version))].sort()
  const others = versions.filter((version) => version !== VERSION)
  const words = there.map(({ role, version }) => `${role} ${version}`).sort()
  const { nowSeconds } = await lookAtServer(db)
  const details = [
    ...(others.length === 0
      ? []
      : [`processes of ${others.join(', ')} run beside this ${VERSION}: update them together`]),
    ...there.flatMap(({ role, lastSeconds }) =>
      nowSeconds - lastSeconds > LATE_SECONDS
        ? [
            `a process of the role ${role} was last heard ${timeText(lastSeconds)}: it may have ended, look whether it runs`,
          ]
        : [],
    ),
  ]
  return finding(
    'workers',
    details.length > 0 ? 'warning' : 'good',
    `at work: ${firstOf(words).join(', ')}${nodesWords(named)}`,
    {
      details,
      facts,
    },
  )
}

/** Which nodes were seen within a day, by the way that each came. */
function nodesWords(nodes: Awaited<ReturnType<typeof findNamedNodes>>): string {
  const wordsOf = (isKeyed: boolean) =>
    nodes
      .filter(({ cameBy }) => (cameBy !== 'token') === isKeyed)
      .map(({ name, shareIndex, cameBy }) => {
        const index = shareIndex === 0 ? 'any share index' : `share index ${shareIndex}`
        return `${name} (${index}${cameBy === 'charon' ? ', with charon alone' : ''})`
      })
  const [byKey, byToken] = [wordsOf(true), wordsOf(false)]
  return [
    ...(byKey.length === 0 ? [] : [`; nodes that came by a key within a day: ${firstOf(byKey).join(', ')}`]),
    ...(byToken.length === 0 ? [] : [`; by a token: ${firstOf(byToken).join(', ')}`]),
  ].join('')
}

/** The key reserve of each vault. */
export async function examineKeys(config: RelayerConfig, db: Database): Promise<Finding> {
  if (!(await hasTable(db, 'validators'))) return finding('keys', 'unused', 'the database has no tables yet')
  const inVain = (await findUnserved(db)).map(
    ({ vault, asked_at: at, validators, reason }) =>
      `${vault} has asked for ${count(validators, 'validator')} and got none, last ${timeText(at)}: ${reason}`,
  )
  if (config.manager === undefined && inVain.length === 0)
    return finding(
      'keys',
      'unused',
      'VALIDATORS_MANAGER_KEY_FILE is not set: nothing is registered for vaults, and keys are not counted',
    )
  if (config.manager === undefined) return finding('keys', 'warning', IN_VAIN, { details: firstOf(inVain) })
  const vaults = await vaultsOf(config, db)
  const counts = await Promise.all(
    vaults.map(async (vault) => ({ vault: checksumAddress(vault), ...(await countKeysLeft(db, vault)) })),
  )
  const facts = { vaults: counts }
  const words = ({ vault, free, reserved }: (typeof counts)[number]) =>
    `${vault} has ${count(free, 'key')} left${reserved > 0 ? `, and ${reserved} reserved` : ''}`
  if (counts.length === 0 && inVain.length === 0) return finding('keys', 'unused', 'no vault is known yet', { facts })
  const empty = counts.filter(({ free, reserved }) => free + reserved === 0)
  const few = counts.filter(({ free }) => free < FEW_KEYS).map(words)
  if (empty.length > 0)
    return finding(
      'keys',
      'problem',
      `${firstOf(empty.map(({ vault }) => vault)).join(', ')} has no key left: ${KEYS_REMEDY}`,
      {
        details: firstOf([...few, ...inVain]),
        facts,
      },
    )
  if (few.length > 0)
    return finding('keys', 'warning', `keys run out: ${KEYS_REMEDY}`, { details: firstOf([...few, ...inVain]), facts })
  if (inVain.length > 0)
    return finding('keys', 'warning', IN_VAIN, { details: firstOf([...inVain, ...counts.map(words)]), facts })
  return finding('keys', 'good', firstOf(counts.map(words)).join('; '), { facts })
}
