/**
 * What goes wrong with relayer and sidecars, one thing after the other, with their processes as a user runs them: each time route, page,
 * command and, where it is theirs to find, doctors say which node is missing, why a validator is not ready, what comes next and what to do,
 * and the alert fires in a real Prometheus that asks these processes.
 */

import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { routes } from '@dvt-relayer/api/routes.ts'
import type { Explanation, ReasonCode, Status } from '@dvt-relayer/api/schemas.ts'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import { withdrawalCredentials } from '@dvt-relayer/crypto/messages/messages.ts'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openPage, skipWithoutChromium, startBrowser } from '../support/browser/browser.ts'
import { skipWithoutAnvil } from '../support/chain/anvil.ts'
import { hasProgram } from '../support/deploy/tools.ts'
import { makeCluster } from '../support/keys/make-cluster.ts'
import { startPrometheus } from '../support/monitoring/prometheus.ts'
import { nextIndex } from '../support/operator/operator.ts'
import { type AppProcess, startProcess } from '../support/services/process.ts'
import { ETH32, registerKeys } from '../support/stages/registrations.ts'
import { openSituationStage, RULES_AT_ONCE, type SituationStage } from '../support/stages/situations.ts'
import { partialExit, postShares, postValidators, sidecarRound } from '../support/world/nodes.ts'
import { startVaultWorld, type VaultWorld } from '../support/world/vault-world.ts'
import { ask, eventually } from '../support/world/world.ts'

/** What a situation leaves for those who look. */
interface Arranged {
  /** A validator that is not ready. */
  key?: string
  /** A sidecar that is to blame, and what it was started with. */
  node?: { process: AppProcess & { url: string }; settings: Environment }
}

interface Alert {
  name: string
  labels?: Record<string, string>
  ofNode?: true
}

interface Situation {
  arrange(stage: SituationStage, world: VaultWorld): Promise<Arranged>
  /** Why that validator is not ready: the verdict, or one of the reasons after it. */
  code?: ReasonCode
  /** Whom the reason names. */
  shareIndexes?: number[]
  /** What stands on the page and in the status. */
  says: RegExp
  /** Where the page leads. */
  anchor: string | null
  /** What a doctor finds: the sidecar's where a node is to blame, else the relayer's. */
  doctor?: RegExp
  /** What fires; of a sidecar where a node is to blame and `ofNode` says so. */
  alert?: Alert | Alert[]
  /** Whether the command `status`, which reads the database alone, cannot know it. */
  isOfProcess?: true
}
type Situations = Readonly<Record<string, Situation>>

const YES = true as const
const explain = async (stage: SituationStage, key: string) =>
  (await ask(stage.url, routes.getExplanation.path.replace(':public_key', key), { headers: stage.headers('admin') }))
    .json as Explanation
const statusOf = async (stage: SituationStage) =>
  (await ask(stage.url, routes.getStatus.path, { headers: stage.headers('admin') })).json as Status

/** The operator asks for the exits of the validators at these places of the cluster; returns the first. */
async function request(stage: SituationStage, ...positions: number[]): Promise<string> {
  const keys = positions.map((position) => stage.keys[position] ?? '')
  await eventually('the request', async () => {
    const { status } = await postValidators(stage.url, keys, stage.headers('owner'))
    return status === 200 ? YES : undefined
  })
  return keys[0] ?? ''
}
/** The operator asks for so many registrations; returns the last of the validators. */
function register(stage: SituationStage, world: VaultWorld, count: number): Promise<string> {
  const amounts = new Array<number>(count).fill(ETH32)
  const asked = { vault: stage.vault.address, startIndex: nextIndex(world.beacon), amounts, type: '0x01' } as const
  return eventually(`${count} registrations`, async () => {
    const keys = await registerKeys(stage.url, asked, stage.headers('owner')).catch(() => [])
    return keys[count - 1]
  })
}
/** Resolves when these nodes have signed the exit of the validator, and its deposit where that is asked for too. */
function untilSigned(stage: SituationStage, key: string, ...shareIndexes: number[]): Promise<true> {
  return eventually(`signatures of nodes ${shareIndexes}`, async () => {
    const { shares } = await explain(stage, key)
    const isIn = (index: number) =>
      shares.some(
        ({ share_index: of, exit, deposit }) =>
          of === index && exit?.state === 'verified' && (deposit === null || deposit.state === 'verified'),
      )
    return shareIndexes.every(isIn) ? YES : undefined
  })
}
/** Nodes of these share indexes, programs of somebody else, sign what is asked for. */
async function sign(stage: SituationStage, { network }: VaultWorld, ...shareIndexes: (1 | 2 | 3 | 4)[]): Promise<void> {
  for (const index of shareIndexes)
    await eventually(`a post of node ${index}`, async () => {
      const headers = stage.headers(`node-${index}`)
      const { status } = await sidecarRound(stage.url, network, stage.cluster.validators, index, headers)
      return status === 200 ? YES : undefined
    })
}
/** Nodes of these share indexes sign something else for this validator. */
async function lie(stage: SituationStage, { network }: VaultWorld, key: string, ...shareIndexes: (1 | 2 | 3 | 4)[]) {
  const validator = stage.cluster.validators[stage.keys.indexOf(key)]
  if (validator === undefined) throw new Error(`${key} is not of this cluster`)
  for (const index of shareIndexes) {
    const wrong = { public_key: key, exit_signature: partialExit(network, validator, index, 99_999) }
    const answer = await postShares(stage.url, index, [wrong], stage.headers(`node-${index}`))
    expect(answer.json).toMatchObject({ code: 'SHARES_WRONG' })
  }
}
const nodeOf = async (stage: SituationStage, shareIndex: number) =>
  (await statusOf(stage)).clusters?.[0]?.nodes.find(({ share_index: index }) => index === shareIndex)
const untilNode = (stage: SituationStage, shareIndex: number, state: string) =>
  eventually(`node ${shareIndex} ${state}`, async () =>
    (await nodeOf(stage, shareIndex))?.state === state ? YES : undefined,
  )
async function start(stage: SituationStage, settings: Environment) {
  return { process: await stage.startNode(settings), settings }
}

/** An hour goes by: for what was asked for, and for nodes that are not there. */
async function anHourGoesBy(stage: SituationStage, ...awayIndexes: number[]): Promise<void> {
  // A new revision has the status page counted at once, and not within a minute.
  await stage.query(
    `update messages set created_at = created_at - interval '1 hour', revision = nextval('message_revision')
      where state = 'collecting'`,
  )
  await stage.query(
    `update nodes_seen set seen_at = seen_at - interval '1 hour', listed_at = listed_at - interval '1 hour',
            posted_at = posted_at - interval '1 hour', refused_at = refused_at - interval '1 hour',
            online_since = online_since - interval '1 hour', gone_at = gone_at - interval '1 hour'
      where share_index = any($1)`,
    [awayIndexes],
  )
}

/** A clock that is a minute and a half behind: what runs before the program of Node. */
const SLOW_CLOCK = `--import=data:text/javascript,${encodeURIComponent(`
const { now } = Date
globalThis.Date = class extends Date {
  constructor(...given) { super(...(given.length === 0 ? [now() - 90_000] : given)) }
  static now() { return now() - 90_000 }
}`)}`
const STRANGER = '0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed'
const away = 'http://127.0.0.1:9'

/** A relayer of two processes; the sidecars of nodes 1 and 2 run, and one more has to sign. In this order: nodes come and go. */
const OF_NODES: Situations = {
  'two nodes have never been started': {
    async arrange(stage) {
      const key = await request(stage, 0)
      await untilSigned(stage, key, 1, 2)
      await anHourGoesBy(stage)
      return { key }
    },
    code: 'NODE_NEVER_SEEN',
    shareIndexes: [3, 4],
    says: /node 3 of cluster "Blue cluster" was never seen/,
    anchor: 'a-node-is-missing',
    alert: [
      { name: 'ExitStuck', labels: { kind: 'exit' } },
      { name: 'NodeMissing', labels: { share_index: '3', cause: 'never' } },
    ],
  },
  'two nodes are down': {
    async arrange(stage) {
      const nodes = await Promise.all([3, 4].map((index) => stage.startNode(stage.nodeSettings(index))))
      await Promise.all([untilNode(stage, 3, 'there'), untilNode(stage, 4, 'there')])
      await Promise.all(nodes.map((node) => node.end('SIGKILL')))
      await Promise.all([untilNode(stage, 3, 'away'), untilNode(stage, 4, 'away')])
      const key = await request(stage, 1)
      await untilSigned(stage, key, 1, 2)
      await anHourGoesBy(stage, 3, 4)
      return { key }
    },
    code: 'NODE_AWAY',
    shareIndexes: [3, 4],
    says: /node 3 of cluster "Blue cluster" is away, last seen at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC/,
    anchor: 'a-node-is-missing',
    alert: { name: 'NodeMissing', labels: { share_index: '3' } },
  },
  'a node has the token of another one': {
    async arrange(stage) {
      const settings = stage.nodeSettings(3, { token: 'node-4' })
      const node = await start(stage, settings)
      const key = await request(stage, 2)
      await eventually('a refusal', async () => ((await nodeOf(stage, 4))?.refusal_code === null ? undefined : YES))
      await anHourGoesBy(stage, 3)
      return { key, node }
    },
    code: 'NODE_REFUSED',
    shareIndexes: [4],
    says: /what node 4 of cluster "Blue cluster" sends is refused with TOKEN_BINDING/,
    anchor: 'a-node-is-refused',
    doctor: /the token node-4 is bound to share index 4, and this sidecar signs for 3: it is the token of another node/,
    alert: { name: 'NodeMissing', labels: { share_index: '3' } },
  },
  'a node lies': {
    async arrange(stage, world) {
      const key = await request(stage, 3)
      await untilSigned(stage, key, 1, 2)
      await lie(stage, world, key, 4)
      return { key }
    },
    code: 'SHARE_REJECTED',
    shareIndexes: [4],
    says: /of \d validators?: these nodes have handed in signatures that are not of their share/,
    anchor: 'a-share-is-rejected',
    alert: { name: 'SharesRejected', labels: { share_index: '4' } },
  },
  'two nodes sign with the keys of another cluster': {
    async arrange(stage, world) {
      const key = await request(stage, 4)
      await lie(stage, world, key, 3, 4)
      return { key }
    },
    code: 'THRESHOLD_UNREACHABLE',
    shareIndexes: [3, 4],
    says: /of \d validators?: so many nodes have handed in wrong signatures/,
    anchor: 'too-many-shares-are-missing',
    alert: { name: 'SharesRejected', labels: { share_index: '3' } },
  },
  'a node has the lock of another cluster': {
    async arrange(stage, world) {
      const dir = join(world.dir, 'red')
      const other = await makeCluster({
        ...{ dir, nodes: 4, threshold: 3, validators: 1, network: world.network, name: 'Red cluster' },
        withdrawalAddress: stage.cluster.lock.validators[0]?.withdrawalAddress ?? new Uint8Array(20),
        feeRecipient: new Uint8Array(20).fill(1),
      })
      // What node 4 did before is long ago.
      await anHourGoesBy(stage, 3, 4)
      const node = await start(stage, stage.nodeSettings(4, { cluster: other }))
      await untilNode(stage, 4, 'there')
      const key = await request(stage, 5)
      await untilSigned(stage, key, 1, 2)
      await anHourGoesBy(stage)
      return { key, node }
    },
    code: 'NODE_SILENT',
    shareIndexes: [4],
    says: /node 4 of cluster "Blue cluster" is there and has not signed what was asked for since \d{4}-/,
    anchor: 'a-node-does-not-sign',
    doctor: /the relayer does not know the cluster lock 0x[0-9a-f]{32}…/,
    alert: { name: 'ExitStuck', labels: { kind: 'exit' } },
  },
  'the policy of a node is against the vault': {
    async arrange(stage, world) {
      const node = await start(stage, stage.nodeSettings(3, { settings: { ALLOWED_VAULTS: STRANGER } }))
      const key = await register(stage, world, 1)
      await untilSigned(stage, key, 1, 2)
      await untilNode(stage, 3, 'there')
      await anHourGoesBy(stage)
      return { key, node }
    },
    code: 'NODE_SILENT',
    shareIndexes: [3],
    says: /node 3 of cluster "Blue cluster" is there and has not signed what was asked for since \d{4}-/,
    anchor: 'a-node-does-not-sign',
    alert: { name: 'SidecarRefuses', labels: { reason: 'vault_not_allowed' }, ofNode: true },
  },
  'the journal of a node is lost': {
    async arrange(stage, world) {
      const folder = join(world.dir, 'lost')
      const settings = stage.nodeSettings(3, {
        settings: { JOURNAL_FILE: join(folder, 'journal', 'deposits.journal') },
      })
      const node = await start(stage, settings)
      await untilNode(stage, 3, 'there')
      const before = await register(stage, world, 2)
      await untilSigned(stage, before, 3)
      await rm(dirname(String(settings['JOURNAL_FILE'])), { recursive: true })
      const key = await register(stage, world, 3)
      await untilSigned(stage, key, 1, 2)
      await anHourGoesBy(stage)
      return { key, node }
    },
    code: 'NODE_SILENT',
    shareIndexes: [3],
    says: /node 3 of cluster "Blue cluster" is there and has not signed what was asked for since \d{4}-/,
    anchor: 'a-node-does-not-sign',
    doctor:
      /there is no deposit journal .* yet: .*Where this sidecar signed deposits before, put its journal there first/,
    alert: { name: 'JournalBroken', ofNode: true },
  },
  'somebody takes the index': {
    async arrange(stage, world) {
      const key = await request(stage, 6)
      addStranger(world)
      await eventually('another index', async () => {
        await request(stage, 6)
        return (await explain(stage, key)).exit?.superseded === 1 ? YES : undefined
      })
      return { key }
    },
    says: /\d+ validators? waits? for signatures of nodes/,
    anchor: 'it-goes-on-by-itself',
  },
  'a clock is off': {
    async arrange(stage) {
      const node = await start(stage, stage.nodeSettings(4, { settings: { NODE_OPTIONS: SLOW_CLOCK } }))
      await untilNode(stage, 4, 'there')
      return { node }
    },
    says: /the clock of node 4 is (8|9)\d s behind the relayer's/,
    anchor: 'a-clock-is-off',
  },
  'the daily limit is reached': {
    async arrange(stage) {
      await stage.query(
        `insert into manager_signatures (action, vault, requester, registry_root, validators, validator_count, amount_gwei, digest)
         values ('fund', $1, 'owner', $2, $2, 1, 32000000000, $2)`,
        [Buffer.from(stage.vault.address.slice(2), 'hex'), randomBytes(32)],
      )
      return {}
    },
    says: /what the manager may move of vault 0x[0-9a-fA-F]{40} within a day is used up/,
    anchor: 'the-daily-limit-is-reached',
    alert: { name: 'DailyLimit80' },
  },
  'no worker is there': {
    async arrange(stage) {
      await stage.kill('worker')
      await stage.query(`update processes set beat_at = beat_at - interval '5 minutes' where role = 'worker'`)
      return { key: await request(stage, 7) }
    },
    code: 'NO_WORKER',
    says: /no process of the role worker or all is there, so nothing is finished/,
    anchor: 'no-worker',
    doctor: /no process of the role worker or all since .*: nothing is finished; start one with ROLE=worker/,
    alert: { name: 'NoWorker' },
  },
}

function addStranger(world: VaultWorld): void {
  world.beacon.addValidator({
    publicKey: new Uint8Array(randomBytes(48)),
    withdrawalCredentials: new Uint8Array(32),
    balanceGwei: 32_000_000_000n,
    status: 'active_ongoing',
  })
}

/** A relayer that gets no oracle config. */
const WITHOUT_ORACLES: Situations = {
  'no oracle set comes': {
    async arrange(stage, world) {
      const key = await request(stage, 0)
      await sign(stage, world, 1, 2, 3)
      return { key }
    },
    code: 'ORACLE_SET_MISSING',
    says: /1 exit cannot be split: no oracle config is known yet/,
    anchor: 'no-oracle-set',
    doctor: /PROBLEM ipfs /,
    alert: { name: 'NotReady', labels: { dependency: 'oracle_set', severity: 'critical' } },
  },
}

/** A relayer whose vault takes no signature of its wallet, and whose validators want new shares. In this order: it gets worse. */
const OF_VAULTS: Situations = {
  'the wallet is not the manager of the vault': {
    arrange: async () => ({}),
    says: /manager is not well: .*0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed/,
    anchor: 'a-service-is-away',
    doctor: /PROBLEM manager .*0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed/i,
    alert: { name: 'NotReady', labels: { dependency: 'manager', severity: 'warning' } },
    isOfProcess: true,
  },
  'shares are of earlier oracles': {
    async arrange(stage, world) {
      const untilAll = (...codes: ReasonCode[]) =>
        eventually(codes.join(), async () => {
          const found = await Promise.all(stage.keys.map((key) => explain(stage, key)))
          return found.every(({ verdict }) => codes.includes(verdict.code)) ? YES : undefined
        })
      await request(stage, ...stage.keys.keys())
      await sign(stage, world, 1, 2, 3)
      await untilAll('READY')
      for (const { publicKey } of stage.cluster.validators)
        world.beacon.addValidator({
          publicKey,
          withdrawalCredentials: withdrawalCredentials('0x01', fromHex(stage.vault.address, 20)),
          balanceGwei: 32_000_000_000n,
          status: 'active_ongoing',
        })
      world.beacon.finalize()
      await untilAll('REGISTERED', 'SHARES_OUTDATED')
      const [old] = await stage.query<{ id: number }>(
        `insert into oracle_sets (cid, threshold, public_keys, config, block_number, announced_at)
         values ('old', 1, $1, '{"untilForceExitEpochs": 10}', 0, now() - interval '2 days') returning id::int`,
        [Buffer.alloc(65)],
      )
      await stage.query('update validators set oracle_set_id = $1', [old?.id])
      // Nothing has announced that; the chain goes on, and a message has changed: vaults are counted.
      await stage.query(
        `update messages set revision = nextval('message_revision') where id = (select max(id) from messages)`,
      )
      world.beacon.advance()
      world.beacon.finalize()
      return { key: stage.keys[0] ?? '' }
    },
    code: 'SHARES_OUTDATED',
    says: /3 validators of vault 0x[0-9a-fA-F]{40} have shares of earlier oracles: they may be exited by force from \d{4}-/,
    anchor: 'shares-are-outdated',
    alert: { name: 'ForceExitSoon' },
  },
  'no key is left': {
    arrange: async () => ({}),
    says: /vault 0x[0-9a-fA-F]{40} has no key left/,
    anchor: 'keys-run-out',
    doctor: /PROBLEM keys .* has no key left/,
    alert: { name: 'KeysRunningOut' },
    isOfProcess: true,
  },
  'the renewal of exit signatures is stuck': {
    arrange: async (stage) => ({ key: stage.keys[0] ?? '' }),
    code: 'SHARES_OUTDATED',
    says: /rotation is not well: 0x[0-9a-fA-F]{40}: /,
    anchor: 'a-service-is-away',
    alert: { name: 'RotationStuck', labels: { cause: 'away' } },
  },
  'nobody has the newest oracle config': {
    async arrange(_stage, world) {
      await world.keeper.setConfig('bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy')
      return {}
    },
    says: /oracle set is not well: /,
    anchor: 'a-service-is-away',
    alert: { name: 'OracleSetStale' },
    isOfProcess: true,
  },
  'the consensus node is away': {
    async arrange(_stage, world) {
      await world.beacon[Symbol.asyncDispose]()
      return {}
    },
    says: /consensus is not well: /,
    anchor: 'a-service-is-away',
    doctor: /PROBLEM consensus GET \S+ at 127\.0\.0\.1:\d+ failed: ECONNREFUSED/,
    alert: { name: 'NotReady', labels: { dependency: 'consensus', severity: 'critical' } },
    isOfProcess: true,
  },
}

describe.skipIf(skipWithoutAnvil || skipWithoutChromium || !hasProgram('prometheus'))('it is said by all when', () => {
  const resources = new AsyncDisposableStack()
  let world: VaultWorld
  let browser: Browser
  beforeAll(async () => {
    const [a, b] = await Promise.all([startVaultWorld({ oracles: 3, threshold: 2 }), startBrowser()])
    world = resources.use(a)
    browser = resources.use(b).browser
  })
  afterAll(() => resources.disposeAsync())

  /** Page, route, command, doctor and alert, each asked until it says so. */
  async function look(stage: SituationStage, situation: Situation, { key, node }: Arranged): Promise<void> {
    const { code, shareIndexes, says, anchor, doctor, alert, isOfProcess } = situation
    if (code !== undefined && key !== undefined) {
      const found = await eventually(`${code} of ${key}`, async () => {
        const { reasons } = await explain(stage, key)
        return reasons.find((one) => one.code === code)
      })
      if (shareIndexes !== undefined) expect(found.share_indexes).toEqual(expect.arrayContaining(shareIndexes))
      expect(found.who).not.toBe('nobody')
    }
    const problem = await eventually(String(says), async () =>
      (await statusOf(stage)).problems?.find(({ sentence }) => says.test(sentence)),
    )
    expect(problem.anchor).toBe(anchor)
    const command = async () => {
      if (isOfProcess) return
      if (key === undefined)
        return expect(await run('relayer', stage.environment, 'status')).toMatch(new RegExp(says, 'i'))
      const wanted = code ?? (await explain(stage, key)).verdict.code
      expect(await run('relayer', stage.environment, 'explain', key)).toContain(`${wanted}: `)
    }
    const diagnosis = async () => {
      if (doctor === undefined) return
      const report =
        node === undefined
          ? await run('relayer', stage.environment, 'doctor')
          : await run('sidecar', { ...node.settings, LOG_LEVEL: 'error' }, 'doctor')
      expect(report.replaceAll(/\s+/g, ' ')).toMatch(doctor)
    }
    const alerts = alert === undefined ? [] : [alert].flat()
    const fired = alerts.map((one) => fires(stage, one, node))
    await Promise.all([onPage(stage, situation, key), command(), diagnosis(), ...fired])
  }

  /** In a real browser, on the page as an administrator has it. */
  async function onPage(stage: SituationStage, { code, shareIndexes, says, anchor }: Situation, key?: string) {
    const token = stage.headers('admin')['authorization']?.split(' ')[1]
    await using watched = await openPage(browser, stage.url, token)
    const { page } = watched
    await page.goto(`${stage.url}/status${key === undefined ? '' : `?key=${key}`}`)
    if (key !== undefined) {
      const { verdict } = await explain(stage, key)
      await page.locator(`#validators .row[data-key="${key}"] .verdict`, { hasText: verdict.code }).waitFor()
    }
    if (code?.startsWith('NODE_'))
      for (const index of shareIndexes ?? [])
        await page.locator(`#clusters li.cell.bad[data-key="${index}"][data-state="${code}"]`).waitFor()
    // The first of all begins with a capital.
    const line = page.locator('.headline p, .problems li', { hasText: new RegExp(says, 'i') }).first()
    await line.waitFor()
    if (anchor !== null) {
      await line.locator('a').first().click()
      await page.locator(`h2#${anchor}`).waitFor()
    }
    watched.expectClean()
  }

  async function fires(stage: SituationStage, alert: Alert, node: Arranged['node']): Promise<void> {
    if (alert.ofNode === undefined) return void (await stage.prometheus.untilFiring(alert.name, alert.labels))
    await using prometheus = await startPrometheus({ sidecar: [node?.process.url ?? ''] }, RULES_AT_ONCE)
    await prometheus.untilFiring(alert.name, alert.labels)
  }

  /** What a command prints. */
  async function run(app: 'relayer' | 'sidecar', environment: Environment, ...args: string[]): Promise<string> {
    await using command = startProcess(app, environment, args)
    await command.ended
    return command.output()
  }

  /** One situation after the other on one stage. */
  function onOneStage(situations: Situations, open: () => Promise<SituationStage>): void {
    let stage: SituationStage
    beforeAll(async () => {
      stage = await open()
    })
    afterAll(() => stage?.[Symbol.asyncDispose]())
    it.each(Object.entries(situations))('%s', async (_name, situation) => {
      const arranged = await situation.arrange(stage, world)
      await look(stage, situation, arranged)
      await arranged.node?.process.end('SIGKILL')
    })
  }

  describe('of nodes and workers:', () =>
    onOneStage(OF_NODES, async () => {
      const stage = await openSituationStage(world, { name: 'blue', roles: ['api', 'worker'] })
      await Promise.all([1, 2].map((index) => stage.startNode(stage.nodeSettings(index))))
      return stage
    }))

  describe('of oracles:', () =>
    onOneStage(WITHOUT_ORACLES, () =>
      openSituationStage(world, {
        name: 'without-oracles',
        roles: ['all'],
        settings: { IPFS_FETCH_ENDPOINTS: away, IPFS_RETRY_TIMEOUT: '1' },
      }),
    ))

  describe('of vaults:', () =>
    onOneStage(OF_VAULTS, () =>
      openSituationStage(world, {
        ...{ name: 'vaults', roles: ['all'], manager: STRANGER, validators: 3 },
        settings: { ROTATION: 'on' },
      }),
    ))
})
