/**
 * `check-backup`: whether a restored copy of the database is a good backup. It is held against the sealing key of the settings, and, where
 * it answers, against their database. Nothing is written, neither to the one nor to the other.
 *
 * Whether a relayer runs on the copy is seen by the heartbeats of processes: each start has an id of its own, so that one which the copy
 * has and the live database has not was started on the copy. A relayer on a copy that cannot be reached from here is seen by nobody.
 */

import { messageOf } from '@dvt-relayer/common/errors.ts'
import { count, finding, type Report, reportOf } from '@dvt-relayer/common/findings.ts'
import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import { timeText } from '@dvt-relayer/common/time-text.ts'
import type { Database } from '@dvt-relayer/db/connect.ts'
import { findProcesses } from '@dvt-relayer/db/queries/attendance/processes.ts'
import {
  countSealedExits,
  countTables,
  findNewestSealed,
  type TableCount,
} from '@dvt-relayer/db/queries/doctor/contents.ts'
import { findPlace, lookAtServer } from '@dvt-relayer/db/queries/doctor/server.ts'
import { type RelayerConfig, readConfig } from '../config.ts'
import { KEPT_SECONDS, SILENCE_SECONDS } from '../services/attendance/heartbeat.ts'
import { proveSealingKey } from '../services/sealing/sealing.ts'
import { connectToRead, examineDatabase, openToRead } from './database.ts'
import { type Check, type Finding, firstOf } from './findings.ts'
import { examineSealing } from './sealing.ts'

/** Stored signatures that are opened to see whether they can be. */
const OPENED = 100
const MOST_PROCESSES = 1000
const DAY_SECONDS = 86_400
/** Tables that fill again by themselves, and what is only of the moment. */
const OF_THE_MOMENT = [
  'key_share_hints',
  'request_nonces',
  'processes',
  'nodes_seen',
  'status_snapshots',
  'validator_changes',
  'validator_tallies',
  'tallies',
  'checkpoints',
  'erasure_clocks',
]
/** What it means that a copy lacks rows of these. */
const LACKING: Readonly<Record<string, string>> = {
  deposit_bindings: "a relayer on the copy may give these keys to another vault, which the nodes' journals then refuse",
  manager_signatures: 'a relayer on the copy does not count them for MANAGER_DAILY_LIMIT_GWEI',
  rotations: 'a relayer on the copy does not know these updates until it has read them from the chain',
}

type Counts = ReadonlyMap<string, TableCount | undefined>

/** Looks at the copy at `url`. Never throws: what goes wrong is a finding. */
export async function checkBackup(environment: Environment, url: string): Promise<Report<Check>> {
  let config: RelayerConfig
  try {
    ;({ config } = readConfig(environment))
  } catch (error) {
    return reportOf<Check>(null, [finding('settings', 'problem', messageOf(error))])
  }
  const network = config.network.name
  let copy: Database
  try {
    copy = await connectToRead(url)
  } catch (error) {
    return reportOf<Check>(network, [finding('database', 'problem', `${messageOf(error)} (--database-url)`)])
  }
  await using _copy = copy
  try {
    return reportOf(network, await examineCopy(config, copy))
  } catch (error) {
    return reportOf<Check>(network, [finding('database', 'problem', `${copy.host}: ${messageOf(error)}`)])
  }
}

async function examineCopy(config: RelayerConfig, copy: Database): Promise<Finding[]> {
  const counts = await countTables(copy)
  if (counts.get('validators') === undefined)
    return [
      finding(
        'database',
        'problem',
        `${copy.host} holds no tables of a relayer: the restore has failed, or it is another database`,
      ),
    ]
  const database = await examineDatabase({ db: copy, isEmbedded: false, [Symbol.asyncDispose]: async () => {} })
  const missing = [...counts].flatMap(([table, found]) => (found === undefined ? [table] : []))
  // Of an older version's tables nothing is missing: the next start makes the rest.
  const isOlder = Number(database.facts['migrations_missing'] ?? 0) > 0
  const first = [database, contentsFinding(counts, isOlder ? [] : missing, (await lookAtServer(copy)).nowSeconds)]
  if (missing.length > 0) return first
  await using live = await openToRead(config.storage)
  const isLive = live.db !== undefined && (await findPlace(live.db)) === (await findPlace(copy))
  const others = isLive ? [] : await compare(copy, counts, live)
  const same = finding<Check>(
    'live',
    'problem',
    `${copy.host} is the live database itself, and no copy: name the database that the backup was restored into`,
  )
  return [...first, await examineCopySealing(config, copy), ...(isLive ? [same] : others)]
}

/** How many rows there are, and how new the newest is. */
function contentsFinding(counts: Counts, missing: readonly string[], nowSeconds: number): Finding {
  const rows = [...counts].flatMap(([table, found]) => (found === undefined ? [] : [{ table, ...found }]))
  const facts = {
    tables: rows.map(({ table, rows: number, newestSeconds: at }) => ({
      table,
      rows: number,
      newest: at === null ? null : timeText(at),
    })),
  }
  if (missing.length > 0)
    return finding('contents', 'problem', `it lacks ${count(missing.length, 'table')}: ${missing.join(', ')}`, {
      facts,
    })
  const of = (table: string) => counts.get(table)?.rows ?? 0
  const newest = newestOf(counts)
  const age =
    newest === undefined ? '' : `; the newest row is of ${timeText(newest)}, ${ageText(nowSeconds - newest)} old`
  const message = [
    count(of('clusters'), 'cluster'),
    count(of('validators'), 'validator'),
    count(of('messages'), 'message'),
    `${count(of('oracle_shares'), 'set')} of oracle shares`,
    count(of('deposit_bindings'), 'bound key'),
    `${of('manager_signatures')} recorded manager signatures`,
  ].join(', ')
  if (of('validators') === 0)
    return finding('contents', 'problem', `there is no validator in it: ${message}${age}`, { facts })
  return finding('contents', 'good', `${message}${age}`, { facts })
}

/** The newest row of all, heartbeats included. */
function newestOf(counts: Counts): number | undefined {
  const times = [...counts.values()].flatMap((found) => found?.newestSeconds ?? [])
  return times.length === 0 ? undefined : Math.max(...times)
}

const ageText = (seconds: number): string =>
  seconds >= 2 * DAY_SECONDS
    ? `${Math.floor(seconds / DAY_SECONDS)} days`
    : seconds >= 7200
      ? `${Math.floor(seconds / 3600)} hours`
      : count(Math.max(0, Math.floor(seconds / 60)), 'minute')

/** The key of the settings on the copy: does it fit, and do the newest stored signatures open? */
async function examineCopySealing(config: RelayerConfig, copy: Database): Promise<Finding> {
  const fit = await examineSealing(config, copy)
  const newest = await findNewestSealed(copy, OPENED)
  const { exits, keyless } = await countSealedExits(copy)
  const facts = { kept_exits: exits, exits_without_key: keyless }
  if (fit.status === 'unused' && exits > 0)
    return finding('sealing', 'problem', 'it holds sealed exits, and the check value of their key is missing', {
      facts,
    })
  const proof = await proveSealingKey(config, copy, silentLogger)
  if (proof.outcome !== 'fits') return { ...fit, facts }
  const opener = await proof.sealing.openerFor(
    copy,
    newest.flatMap(({ id, kind }) => (kind === 'exit' ? [id] : [])),
  )
  const opens = ({ id, kind, signature }: (typeof newest)[number]) => {
    try {
      opener.signature({ id, kind }, signature).fill(0)
      return true
    } catch {
      return false
    }
  }
  const unreadable = newest.filter((row) => !opens(row)).length
  const damaged = unreadable - Math.min(unreadable, keyless)
  const details =
    keyless > 0
      ? [
          `${keyless} of ${count(exits, 'kept exit')} cannot be opened: the rows of message_keys are not in the backup. After a restore run npm run relayer -- void-sealed --yes, and the sidecars sign again`,
        ]
      : []
  if (damaged > 0)
    return finding(
      'sealing',
      'problem',
      `the sealing key fits, and yet ${damaged} of the newest ${count(newest.length, 'stored signature')} cannot be opened: they are damaged`,
      { details, facts },
    )
  const opened = newest.length - unreadable
  const message = `${fit.message}; ${opened} of the newest ${count(newest.length, 'stored signature')} opened`
  return { ...fit, status: keyless > 0 ? 'warning' : fit.status, message, details, facts }
}

/** The copy beside the live database: what it lacks, and whether a relayer runs on it. */
async function compare(
  copy: Database,
  counts: Counts,
  live: Awaited<ReturnType<typeof openToRead>>,
): Promise<Finding[]> {
  const copied = await findProcesses(copy, SILENCE_SECONDS, MOST_PROCESSES)
  if (live.db === undefined) {
    const why = live.problem ?? 'the embedded PostgreSQL of DATA_DIR does not run'
    const heard = copied.filter(({ isThere }) => isThere)
    return [
      finding('live', 'warning', `the copy could not be compared with the live database: ${why}`),
      heard.length > 0
        ? finding(
            'relayers',
            'problem',
            `a relayer was heard on ${copy.host} within ${SILENCE_SECONDS} s: a second one runs on the copy, or this is the live database. If the copy was made just now, ask again in a minute`,
          )
        : finding('relayers', 'good', `no relayer was heard on ${copy.host} within ${SILENCE_SECONDS} s`),
    ]
  }
  const [liveCounts, liveProcesses, { nowSeconds }] = await Promise.all([
    countTables(live.db),
    findProcesses(live.db, SILENCE_SECONDS, MOST_PROCESSES),
    lookAtServer(live.db),
  ])
  return [
    behindFinding(counts, liveCounts),
    relayersFinding(copied, liveProcesses, { copy: copy.host, live: live.db.host, nowSeconds }),
  ]
}

function behindFinding(copy: Counts, live: Counts): Finding {
  const lacks = [...live].flatMap(([table, found]) => {
    const [there, here] = [found?.rows ?? 0, copy.get(table)?.rows ?? 0]
    return there > here && !OF_THE_MOMENT.includes(table) ? [{ table, here, lacking: there - here }] : []
  })
  const facts = { lacking: lacks.map(({ table, lacking }) => ({ table, rows: lacking })) }
  const empty = lacks.filter(({ table, here }) => here === 0 && table !== 'message_keys').map(({ table }) => table)
  const details = lacks.flatMap(({ table, lacking }) =>
    LACKING[table] === undefined ? [] : [`${table} lacks ${count(lacking, 'row')}: ${LACKING[table]}`],
  )
  const behind = (newestOf(live) ?? 0) - (newestOf(copy) ?? 0)
  const age = behind > 0 ? `${ageText(behind)} behind` : 'not behind'
  const words = lacks.map(({ table, lacking }) => `${table} ${lacking}`).join(', ')
  const message = `the copy is ${age} the live database${words === '' ? ', and lacks no row' : `, and lacks rows: ${words}`}`
  if (empty.length > 0)
    return finding('live', 'warning', `${message}. All rows are missing of: ${empty.join(', ')}`, { details, facts })
  return finding('live', behind > DAY_SECONDS ? 'warning' : 'good', message, { details, facts })
}

type Processes = Awaited<ReturnType<typeof findProcesses>>

function relayersFinding(
  copied: Processes,
  live: Processes,
  at: { copy: string; live: string; nowSeconds: number },
): Finding {
  const known = new Map(live.map((process) => [process.id, process]))
  // The live database keeps what was heard within a day: what it does not know was never on it, and started on the copy.
  const strangers = copied.filter(
    ({ id, lastSeconds }) => !known.has(id) && lastSeconds > at.nowSeconds - KEPT_SECONDS + 60,
  )
  const moved = copied.filter(({ id, isThere, lastSeconds }) => {
    const same = known.get(id)
    return isThere && same !== undefined && lastSeconds > same.lastSeconds + SILENCE_SECONDS
  })
  const facts = {
    on_copy: strangers.filter(({ isThere }) => isThere).length,
    on_live: live.filter(({ isThere }) => isThere).length,
  }
  const words = firstOf(
    strangers.map(({ role, startedSeconds, lastSeconds, isThere }) =>
      isThere
        ? `a process of role ${role} runs on the copy since ${timeText(startedSeconds)}`
        : `a process of role ${role} ran on the copy, last heard ${timeText(lastSeconds)}`,
    ),
  )
  if (facts.on_copy > 0)
    return finding(
      'relayers',
      'problem',
      `a second relayer runs on the copy ${at.copy}${facts.on_live > 0 ? `, beside that of ${at.live}` : ''}: stop it. What both hand out, record and limit, each counts by itself`,
      { details: words, facts },
    )
  if (moved.length > 0)
    return finding(
      'relayers',
      'problem',
      `the relayer that was on ${at.live} beats on ${at.copy}: the settings here are not those it runs with`,
      { facts },
    )
  if (strangers.length > 0)
    return finding(
      'relayers',
      'warning',
      `a relayer has run on the copy ${at.copy}: it is a backup no more; restore it again`,
      {
        details: words,
        facts,
      },
    )
  return finding('relayers', 'good', `no relayer has run on the copy within a day`, { facts })
}
