/** Background work as a table: what repeats for as long as the process runs, in which roles, how often, and what wakes it. */

import { messageOf } from '@dvt-relayer/common/errors.ts'
import type { Lifetime } from '@dvt-relayer/common/lifetime.ts'
import { startLoop } from '@dvt-relayer/common/loop.ts'
import { createListener } from '@dvt-relayer/db/connect.ts'
import { MESSAGES_CHANNEL } from '@dvt-relayer/db/queries/messages/announce.ts'
import { ORACLE_SETS_CHANNEL } from '@dvt-relayer/db/queries/oracle-shares.ts'
import type { JobQueue } from '@dvt-relayer/queue/queue.ts'
import type { RelayerConfig } from './config.ts'
import type { Context } from './context.ts'
import { startWorker } from './jobs/worker.ts'
import type { Dependency } from './metrics.ts'
import { createBeaconStatus } from './services/beacon-status/beacon-status.ts'
import type { SsvFollower } from './services/clusters/ssv-follow.ts'
import { createRetention } from './services/exits/retention.ts'
import type { Health } from './services/health.ts'
import type { Services } from './services/services.ts'
import { createFinishing } from './services/signatures/finish.ts'
import { createSweep } from './services/signatures/sweep.ts'

/** What background work is made of. */
export interface Stage {
  context: Context & { queue: JobQueue }
  health: Health
  services: Services
  /** Undefined where registrations of the SSV contract are not followed. */
  ssv: SsvFollower
}

type WorkName =
  | 'oracle set'
  | 'registry'
  | 'manager'
  | 'checks'
  | 'finishing'
  | 'sweep'
  | 'rotation'
  | 'ssv clusters'
  | 'retention'
  | 'registered validators'
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
  create(stage: Stage): Round | undefined
}

const EVERYWHERE = ['all', 'api', 'worker'] as const
const WHERE_REQUESTS_COME = ['all', 'api'] as const
const WHERE_JOBS_ARE_DONE = ['all', 'worker'] as const

/** How old the numbers of vaults in the metrics get. */
const VAULTS_MS = 60_000

/** Started from the first to the last, ended from the last to the first. */
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
    failure: 'registrations of the SSV contract cannot be read',
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
]

/** Starts all that this process's role has to do beside answering requests. */
export function startBackground(
  stage: Stage,
  databaseUrl: string,
  lifetime: Lifetime,
  intervalsMs: Intervals = {},
): void {
  const { context, health, services } = stage
  const { role } = context.config
  const loops = BACKGROUND.map((work) => {
    const round = work.roles.includes(role) ? work.create(stage) : undefined
    if (round !== undefined) return { work, loop: lifetime.use(work.name, start(work, round, stage, intervalsMs)) }
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
  if (role !== 'api') lifetime.use('worker', startWorker(queue, { finishing: createFinishing(context), ...services }))
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

/** Takes over what the Keeper announces. Where a config is in force, it stays so while the chain cannot be asked. */
function followOracleSet({ services: { oracleSets } }: Stage): Round {
  return async (signal, report) => {
    try {
      report(await oracleSets.follow())
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
function checkDependencies({ context: { db, queue, chain }, health }: Stage): Round {
  const check = async (name: 'database' | 'queue' | 'execution' | 'consensus', look: () => Promise<unknown>) => {
    try {
      await look()
      health.report(name)
    } catch (error) {
      health.report(name, messageOf(error))
    }
  }
  return async () => {
    await Promise.all([
      check('database', () => db.execute('select 1')),
      check('queue', async () => {
        if (!(await queue.isHealthy()))
          throw new Error('the queue does not answer; PostgreSQL keeps what is to be done')
      }),
      check('execution', () => chain.execution.blockNumber()),
      check('consensus', () => chain.registry.nextIndex()),
    ])
  }
}

/** Copies exits for their owners, then erases those that need not be kept: in this order, so that none is erased before it is copied. */
function copyAndErase({ context, services: { ownerCopies } }: Stage): Round {
  const retention = createRetention(context)
  return async () => {
    await ownerCopies.run()
    await retention.run()
  }
}

/** Notes registrations and exits once they are final: the finalized state is looked for at every slot, and read when it has changed. */
function noteRegistered({ context, services: { vaults } }: Stage): Round {
  const registered = createBeaconStatus(context)
  let told: string | undefined
  let nextCount = 0
  return async (signal) => {
    try {
      if (await registered.look(signal)) nextCount = 0
      told = undefined
    } catch (error) {
      if (signal.aborted) return
      if (told !== messageOf(error)) context.events.finalizedUnread(error)
      told = messageOf(error)
    }
    if (performance.now() < nextCount) return
    await vaults.count()
    nextCount = performance.now() + VAULTS_MS
  }
}
