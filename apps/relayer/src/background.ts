/** Background work as a table: what repeats for as long as the process runs, in which roles, how often, and what wakes it. */

import { messageOf } from '@dvt-relayer/common/errors.ts'
import { startLoop } from '@dvt-relayer/common/flow/loop.ts'
import { CHECK_MS, inTime, type Lifetime, withTimeout } from '@dvt-relayer/common/process/lifetime.ts'
import { createDatabaseCheck } from '@dvt-relayer/db/check.ts'
import { createListener } from '@dvt-relayer/db/connect.ts'
import { MESSAGES_CHANNEL } from '@dvt-relayer/db/queries/messages/announce.ts'
import { ORACLE_SETS_CHANNEL } from '@dvt-relayer/db/queries/oracle-shares.ts'
import { createTallyCheck } from '@dvt-relayer/db/settle-tallies.ts'
import type { JobQueue } from '@dvt-relayer/queue/queue.ts'
import type { Chain } from './chain.ts'
import type { RelayerConfig } from './config.ts'
import type { Context } from './context.ts'
import type { Reload } from './files/reload.ts'
import { startWorker } from './jobs/worker.ts'
import type { Dependency } from './metrics.ts'
import { createAttendanceCount } from './services/attendance/count.ts'
import { createBeaconStatus } from './services/beacon-status/beacon-status.ts'
import { createCensus } from './services/census/census.ts'
import { SSV_UNREAD, type SsvFollower } from './services/clusters/ssv-follow.ts'
import { createPlaceWatch } from './services/database-place.ts'
import { createRetention } from './services/exits/retention.ts'
import type { Health } from './services/health.ts'
import type { Services } from './services/services.ts'
import { createSweep } from './services/signatures/sweep.ts'

/** What background work is made of. */
export interface Stage {
  context: Context & { queue: JobQueue; chain: Chain }
  health: Health
  services: Services
  /** Undefined where registrations of the SSV contract are not followed. */
  ssv: SsvFollower
  reload: Reload
}

/** What the table's rounds get beside it. */
interface Parts extends Stage {
  databaseCheck: Pick<ReturnType<typeof createDatabaseCheck>, 'check'>
  /** When the round under way of each work began. */
  underWay: ReadonlyMap<WorkName, number>
}

type WorkName =
  | 'oracle set'
  | 'registry'
  | 'manager'
  | 'checks'
  | 'finishing'
  | 'sweep'
  | 'starving'
  | 'rotation'
  | 'ssv clusters'
  | 'retention'
  | 'registered validators'
  | 'nodes seen'
  | 'unserved vaults'
  | 'nodes gone'
  | 'status'
  | 'tallies'
  | 'attendance'
  | 'workers'
  | 'heartbeat'
  | 'files'
/** Milliseconds between two rounds, instead of those of the table. */
export type Intervals = Partial<Record<WorkName, number>>

/** One round. `report` tells `/ready` what is wrong, or nothing; a round may say in how many milliseconds the next one is due. */
type Round = (signal: AbortSignal, report: (problem?: string) => void) => Promise<number | undefined> | Promise<void>

interface Work {
  name: WorkName
  roles: readonly RelayerConfig['role'][]
  intervalMs: number | ((config: RelayerConfig) => number)
  /** What `/ready` shows of it. Where it does not run, it counts as working. */
  reports?: Dependency
  /** What `/ready` says, or the log where it reports nothing, when a round fails. */
  failure: string
  /** Whether a notification of this channel calls for a round at once. */
  isWokenBy?: (channel: string, services: Services) => boolean
  /** Undefined where there is nothing to do. */
  create(parts: Parts): Round | undefined
}

const EVERYWHERE = ['all', 'api', 'worker'] as const
const WHERE_REQUESTS_COME = ['all', 'api'] as const
const WHERE_JOBS_ARE_DONE = ['all', 'worker'] as const
const WHERE_OTHERS_DO_THEM = ['api'] as const

/** How old the numbers of vaults in the metrics get. */
const VAULTS_MS = 60_000

/** Started from the first to the last, ended together. */
const BACKGROUND: readonly Work[] = [
  {
    name: 'oracle set',
    roles: EVERYWHERE,
    intervalMs: 12_000,
    reports: 'oracle_set',
    failure: 'no oracle config yet',
    create: followOracleSet,
  },
  {
    name: 'registry',
    roles: WHERE_REQUESTS_COME,
    intervalMs: 12_000,
    reports: 'registry',
    failure: 'the deposits on chain cannot be followed',
    create: followRegistry,
  },
  {
    name: 'manager',
    roles: WHERE_REQUESTS_COME,
    intervalMs: 12_000,
    reports: 'manager',
    failure: "the vaults' validators manager cannot be read",
    create: followManager,
  },
  {
    name: 'checks',
    roles: EVERYWHERE,
    intervalMs: 3_000,
    failure: 'check failed',
    create: checkDependencies,
  },
  {
    name: 'finishing',
    roles: WHERE_JOBS_ARE_DONE,
    intervalMs: 3_000,
    failure: 'nothing was given out to finish, the next look comes',
    isWokenBy: (channel) => channel === ORACLE_SETS_CHANNEL,
    create: ({ context }) => createSweep(context).finish,
  },
  {
    name: 'sweep',
    roles: WHERE_JOBS_ARE_DONE,
    intervalMs: 3_000,
    failure: 'sweep failed, the next one comes',
    create: ({ context }) => createSweep(context).run,
  },
  {
    name: 'starving',
    roles: WHERE_JOBS_ARE_DONE,
    intervalMs: 600_000,
    failure: 'exits that wait for nodes were not looked at, the next look comes',
    create: ({ services: { finishing } }) => finishing && (() => finishing.explainStarving()),
  },
  {
    name: 'rotation',
    roles: WHERE_JOBS_ARE_DONE,
    intervalMs: 12_000,
    reports: 'rotation',
    failure: 'rotations cannot be carried on',
    isWokenBy: (channel, { rotation }) => channel === ORACLE_SETS_CHANNEL || rotation.isCollecting,
    create:
      ({ services: { rotation } }) =>
      async (signal, report) =>
        report(await rotation.round(signal)),
  },
  {
    name: 'ssv clusters',
    roles: WHERE_JOBS_ARE_DONE,
    intervalMs: 12_000,
    reports: 'ssv',
    failure: SSV_UNREAD,
    create: ({ ssv }) => ssv && (async (signal, report) => report(await ssv.round(signal))),
  },
  {
    name: 'retention',
    roles: WHERE_JOBS_ARE_DONE,
    // Looking through all exits takes the database most of a second where there are 100,000.
    intervalMs: 30_000,
    failure: 'exits were not copied or erased, the next round comes',
    create: copyAndErase,
  },
  {
    name: 'registered validators',
    roles: WHERE_JOBS_ARE_DONE,
    intervalMs: ({ network }) => network.secondsPerSlot * 1000,
    failure: 'vaults were not counted, the next look comes',
    create: noteRegistered,
  },
  {
    name: 'nodes seen',
    roles: WHERE_REQUESTS_COME,
    intervalMs: 15_000,
    failure: 'which nodes were seen is not written, the next round comes',
    create: ({ services: { api } }) => api && (() => api.nodes.write()),
  },
  {
    name: 'unserved vaults',
    roles: WHERE_REQUESTS_COME,
    intervalMs: 5_000,
    failure: 'which vaults got no keys is not written, the next round comes',
    create: ({ services: { api } }) => api && (() => api.unserved.write()),
  },
  {
    name: 'nodes gone',
    roles: WHERE_REQUESTS_COME,
    intervalMs: 2_000,
    failure: 'which nodes have gone is not written, the next round comes',
    create: ({ services: { api } }) => api && (() => api.nodes.writeChanges()),
  },
  {
    name: 'status',
    roles: WHERE_JOBS_ARE_DONE,
    intervalMs: 4_000,
    failure: 'the status page was not written, the next round comes',
    create:
      ({ services: { snapshots } }) =>
      () =>
        snapshots.write(),
  },
  {
    name: 'tallies',
    roles: WHERE_JOBS_ARE_DONE,
    // 0.15 s of the database where there are 100,000 validators, which are all compared within some hours.
    intervalMs: 120_000,
    failure: 'tallies were not compared with what they count, the next look comes',
    create: ({ context: { db, events } }) => {
      const check = createTallyCheck(db)
      return async () => events.talliesCompared(await check())
    },
  },
  {
    name: 'attendance',
    roles: EVERYWHERE,
    intervalMs: 15_000,
    failure: 'who is there and what waits is not counted, the next round comes',
    create: countForMetrics,
  },
  {
    name: 'workers',
    roles: WHERE_OTHERS_DO_THEM,
    intervalMs: 3_000,
    reports: 'worker',
    failure: 'workers cannot be looked for',
    create:
      ({ services: { heartbeat } }) =>
      async (_signal, report) =>
        report(await heartbeat.findAbsence()),
  },
  {
    name: 'files',
    roles: EVERYWHERE,
    intervalMs: 5_000,
    reports: 'files',
    failure: 'changed files cannot be taken over',
    create:
      ({ reload }) =>
      async (signal, report) =>
        report(await reload.look(signal)),
  },
  // The last one: it begins when the others have, and is heard for as long as one of them runs.
  {
    name: 'heartbeat',
    roles: EVERYWHERE,
    intervalMs: 10_000,
    failure: 'no heartbeat was left, the next one comes',
    create({ context, services: { heartbeat } }) {
      const followDatabase = createPlaceWatch(context)
      return async () => {
        await followDatabase()
        await heartbeat.beat()
      }
    },
  },
]

/** How long a process that stops waits for its last word to be written. */
const LAST_WORD_MS = 1_000

/** Starts all that this process's role has to do beside answering requests. `end` ends it before its release waits for that, `soon` has a round begin at once. */
export function startBackground(
  stage: Stage,
  databaseUrl: string,
  lifetime: Lifetime,
  intervalsMs: Intervals = {},
): { end(): Promise<unknown>; soon(name: WorkName): void } {
  const { context, health, services } = stage
  const { role } = context.config
  // Released when all that follows has ended.
  lifetime.push('last heartbeat', () => withTimeout(services.heartbeat.stop(), LAST_WORD_MS))
  const underWay = new Map<WorkName, number>()
  const databaseCheck = lifetime.use('database check', createDatabaseCheck(context.db, databaseUrl))
  const loops = BACKGROUND.map((work) => {
    const round = work.roles.includes(role) ? work.create({ ...stage, databaseCheck, underWay }) : undefined
    if (round !== undefined) return { work, loop: start(work, timed(work, round, underWay), stage, intervalsMs) }
    if (work.reports !== undefined) health.report(work.reports)
    return { work, loop: undefined }
  })
  const onNotify = (channel: string, payload: string) => {
    if (channel === MESSAGES_CHANNEL) services.api?.lists.notified(Number(payload))
    services.api?.oracleFetch.notified()
    for (const { work, loop } of loops) if (work.isWokenBy?.(channel, services) === true) loop?.soon()
  }
  const onReconnect = () => {
    services.api?.lists.reconnected()
    services.api?.oracleFetch.notified()
  }
  const channels = [MESSAGES_CHANNEL, ORACLE_SETS_CHANNEL]
  const { logger, queue } = context
  lifetime.use('listener', createListener({ url: databaseUrl, channels, onNotify, onReconnect, logger }))
  const { finishing, verification } = services
  const worker = finishing === undefined ? undefined : startWorker(queue, { finishing, verification })
  let ended: Promise<unknown> | undefined
  // Beside each other: of those that wait for what is away, none takes the time of the others.
  const end = () => {
    ended ??= Promise.all([worker, ...loops.map(({ loop }) => loop)].map((one) => one?.[Symbol.asyncDispose]()))
    ended.catch(() => {})
    return ended
  }
  lifetime.push('background', end)
  return { end, soon: (name) => loops.find(({ work }) => work.name === name)?.loop?.soon() }
}

function start(work: Work, round: Round, { context: { config, logger }, health }: Stage, intervalsMs: Intervals) {
  const { name, reports, failure, intervalMs } = work
  const report = (problem?: string) => (reports === undefined ? undefined : health.report(reports, problem))
  return startLoop((signal) => round(signal, report), {
    intervalMs: intervalsMs[name] ?? (typeof intervalMs === 'number' ? intervalMs : intervalMs(config)),
    onError: (error) => {
      if (reports === undefined) logger.debug({ err: error }, failure)
      else report(`${failure}: ${messageOf(error)}`)
    },
  })
}

/** The same round, noted while it is under way. */
function timed({ name }: Work, round: Round, underWay: Map<WorkName, number>): Round {
  return async (signal, report) => {
    underWay.set(name, performance.now())
    try {
      return (await round(signal, report)) ?? undefined
    } finally {
      underWay.delete(name)
    }
  }
}

/** What metrics tell of all processes together: in one round, so that a stop has one less to wait for. */
function countForMetrics({ context, services: { vaults } }: Stage): Round {
  const [attendance, census] = [createAttendanceCount(context), createCensus(context)]
  return async () => {
    await attendance()
    await census()
    await vaults.count(false)
  }
}

/** Takes over what the Keeper announces. Where a config is in force, it stays so while the chain cannot be asked. */
function followOracleSet({ context, services: { oracleSets } }: Stage): Round {
  return async (signal, report) => {
    try {
      const problem = await oracleSets.follow(report)
      if (problem === undefined) context.events.oracleSetSeen()
      report(problem)
    } catch (error) {
      if (signal.aborted || !(await oracleSets.hasCurrent().catch(() => false))) throw error
      report()
    }
  }
}

/** Follows the deposits: from the start where the relayer signs for vaults, else from the first request that needs them. */
function followRegistry({ services, context }: Stage): Round | undefined {
  const registry = services.api?.registry
  if (registry === undefined) return undefined
  return async (signal, report) => {
    if (context.wallet === undefined && !(await registry.isWanted())) return report()
    report((await registry.follow(signal, report)) ?? (await registry.crossCheck()))
  }
}

/** Looks at whether VAULTS take what the validators-manager key signs; undefined where there is no key, or no list of vaults. */
function followManager({ services, context: { config, wallet } }: Stage): Round | undefined {
  const [vaults, reader] = [config.vaults, services.api?.vaultReader]
  if (wallet === undefined || vaults === undefined || reader === undefined) return undefined
  return async (signal, report) => report(await reader.findForeign(vaults, signal))
}

/** Looks at every service outside this process, for `/ready`. */
function checkDependencies(parts: Parts): Round {
  const { context, databaseCheck, health } = parts
  const { queue, chain } = context
  /** Each says what may be wrong all the same. */
  const looks = {
    database: async () => {
      await databaseCheck.check()
      return undefined
    },
    queue: async () => {
      const problem = await queue.findProblem()
      if (problem !== undefined) throw new Error(problem)
      return undefined
    },
    // The first says what is wrong, before the second, which is what work asks, has tried it long enough.
    execution: async () => {
      const both = Promise.all([chain.watched.execution(), chain.execution.blockNumber()])
      return (await inTime(both, 'the execution node'))[0]
    },
    consensus: async () => {
      const both = Promise.all([chain.watched.consensus(), chain.consensus.nextValidatorIndex()])
      return (await inTime(both, 'the consensus node'))[0]
    },
  }
  const check = async ([name, look]: [string, () => Promise<string | undefined>]) => {
    const dependency = name as keyof typeof looks
    try {
      const doubt = await look()
      health.report(dependency)
      health.doubt(dependency, doubt)
    } catch (error) {
      health.doubt(dependency, undefined)
      health.report(dependency, messageOf(error))
    }
  }
  return async () => {
    await Promise.all(Object.entries(looks).map(check))
    reportStuck(parts)
  }
}

/**
 * What waits for the database or the execution node while it is away says so, and not what it last saw: a round may wait a minute for it.
 * The oracle config in force stays so.
 */
function reportStuck({ health, underWay }: Parts): void {
  const { checks } = health.state()
  const away = [checks['database'], checks['execution']].find((check) => check?.ok === false)
  if (away?.message === undefined) return
  for (const { name, reports, failure } of BACKGROUND) {
    const since = underWay.get(name)
    const isStuck = since !== undefined && performance.now() - since > CHECK_MS
    if (isStuck && reports !== undefined && reports !== 'oracle_set')
      health.report(reports, `${failure}: ${away.message}`)
  }
}

/** Copies exits for their owners, then erases those that need not be kept: in this order, so that none is erased before it is copied. */
function copyAndErase({ context, services: { ownerCopies } }: Stage): Round {
  const retention = createRetention(context)
  if (context.config.exitRetention === 'erase') context.events.erasureBegins(context.chain.consensusNodes.length)
  return async (signal) => {
    await ownerCopies.run()
    await retention.run(signal)
  }
}

/** Notes registrations and exits once they are final: the finalized state is looked for at every slot, and read when it has changed. */
function noteRegistered({ context, services: { vaults } }: Stage): Round {
  const registered = createBeaconStatus(context)
  let told: string | undefined
  let nextCount = 0
  let isNew = true
  return async (signal) => {
    try {
      isNew = (await registered.look(signal)) || isNew
      told = undefined
    } catch (error) {
      if (signal.aborted) return
      if (told !== messageOf(error)) context.events.finalizedUnread(error)
      told = messageOf(error)
    }
    if (!isNew && performance.now() < nextCount) return
    await vaults.count(isNew)
    isNew = false
    nextCount = performance.now() + VAULTS_MS
  }
}
