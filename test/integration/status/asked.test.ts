/** What an answer holds, for whom, of what was counted before: each of its parts, pages, bounds, and how long it is good. */

import { randomBytes } from 'node:crypto'
import type { Status } from '@dvt-relayer/api/schemas.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { VERSION } from '@dvt-relayer/common/version.ts'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import type { Database } from '@dvt-relayer/db/connect.ts'
import { storeBeat, storeStop } from '@dvt-relayer/db/queries/attendance/processes.ts'
import { storeCheckpoint } from '@dvt-relayer/db/queries/state.ts'
import { storeSnapshot } from '@dvt-relayer/db/queries/status/snapshot.ts'
import type { JobQueue } from '@dvt-relayer/queue/queue.ts'
import { sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import type { RelayerConfig } from '../../../apps/relayer/src/config.ts'
import { checkpointOf, REGISTRY_CHECKPOINT } from '../../../apps/relayer/src/services/deposit-registry/position.ts'
import type { Snapshot } from '../../../apps/relayer/src/services/status/snapshot.ts'
import { createStatus, statusToAdmin } from '../../../apps/relayer/src/services/status/status.ts'
import { openMessages } from '../../support/stages/messages.ts'
import { idleConfig as config } from '../../support/stores/idle-config.ts'

const [A, B] = [Buffer.alloc(20, 0xaa), Buffer.alloc(20, 0xbb)]
const [NAME_A, NAME_B] = [checksumAddress(A), checksumAddress(B)]
const AT = 1_700_000_000

type Manager = Snapshot['manager'][number]
const signed = (vault: string, action: Manager['action'], gwei: string, at = AT): Manager => ({
  ...{ vault, action, signatures: 1, moved_gwei: gwei, last_at: at },
})
const vault = (name: string): Snapshot['vaults'][number] => ({
  ...{ vault: name, registered: 4, exited: 1, outdated: 0, wrong_index: 0, force_exit_at_timestamp: null },
  ...{ keys_free: 20, keys_reserved: 2 },
})
const cluster = (id: number, of: Buffer): Snapshot['clusters'][number] => ({
  ...{ id, name: `c${id}`, source: 'list', threshold: 2, validators: 10, share_indexes: [], vaults: [toHex(of)] },
})
const collecting = (cluster_id: number | null, validators: number) => ({
  ...{ cluster_id, validators, messages: validators, oldest_at: AT },
})
const COUNTED: Snapshot = {
  clusters: [cluster(1, A), cluster(2, B)],
  totals: { validators: 20, registered: 8, exited: 2, ready: 6, unsplit: 0 },
  vaults: [vault(NAME_A), vault(NAME_B)],
  collecting: [collecting(1, 3), collecting(2, 2), collecting(null, 1)],
  waiting: [],
  rotations: [{ vault: NAME_A, state: 'sent', since_timestamp: AT, deadline: AT + 60 }],
  manager: [
    signed(NAME_A, 'register', '99'),
    signed(NAME_A, 'fund', '30', AT + 9),
    signed(NAME_A, 'withdraw', '5', AT + 5),
    signed(NAME_B, 'fund', '100'),
  ],
}

const ADMIN = { name: 'admin', role: 'admin', vaults: undefined, shareIndexes: undefined } as const
const ofVault = (...vaults: Uint8Array[]) => ({ ...ADMIN, name: 'owner', role: 'operator', vaults }) as const
const NODE = { ...ADMIN, name: 'node', role: 'sidecar', shareIndexes: [2] } as const
const HERE = { address: '0x01', ready: null, doubts: { queue: 'slow' } }

/** A database, and the service on it with a clock; the queue has seven jobs. */
async function openStatus(settings: Partial<RelayerConfig> = {}) {
  const store = await openMessages()
  const clock = { at: 1_000_000 }
  const parts = { config: { ...config, ...settings }, db: store.db }
  const queue = { counts: async () => ({ waiting: 7, active: 1 }) } as unknown as JobQueue
  const service = createStatus({ ...parts, queue }, () => clock.at)
  /** Validators with a collecting exit each, and a deposit where wanted. */
  const addCollecting = async (count: number, kinds: readonly ('exit' | 'deposit')[], of = A) => {
    const keys: string[] = []
    for (let n = 0; n < count; n++) {
      const { id, publicKey } = await store.addValidator(of)
      for (const kind of kinds) await (kind === 'exit' ? store.addExit(id) : store.addDeposit(id, { vault: of }))
      keys.push(toHex(publicKey))
    }
    return keys
  }
  return { ...store, clock, parts, service, addCollecting }
}
const keysOf = ({ validators: { items } }: Status) => items.map(({ public_key: key }) => key)

describe('the status', () => {
  it('has everything for an admin, of an operator what is of its vaults, and of a node nothing of vaults', async () => {
    const { db, service, addCollecting } = await openStatus({ managerDailyLimitGwei: 40 })
    await storeSnapshot(db, COUNTED)
    await storeBeat(db, { id: 'a', role: 'worker', version: VERSION })
    const position = { nextBlock: 11, nextDepositIndex: 12, count: 13 }
    await storeCheckpoint(db, REGISTRY_CHECKPOINT, checkpointOf(config.network, position))
    const askedAt = Math.floor(Date.now() / 1000)
    const unserved = [NAME_A, NAME_B].map((name) => ({ vault: name, asked_at: askedAt, validators: 2 }))
    await storeCheckpoint(db, 'unserved_vaults', unserved)
    const [key = ''] = await addCollecting(1, ['exit'])
    const of = (caller: Parameters<typeof service.of>[0]) => service.of(caller, {}, HERE)

    const all = await of(ADMIN)
    const rotation = { state: 'sent', since_timestamp: AT, deadline: AT + 60 }
    const [ofA, ofB] = [
      { ...vault(NAME_A), rotation },
      { ...vault(NAME_B), rotation: null },
    ]
    const movedA = {
      vault: NAME_A,
      ...{ signatures: { register: 1, fund: 1, withdraw: 1 }, moved_gwei: '35', left_gwei: '5' },
      last_at_timestamp: AT + 9,
    }
    const movedB = {
      ...{ vault: NAME_B, signatures: { fund: 1 }, moved_gwei: '100', left_gwei: '0', last_at_timestamp: AT },
    }
    expect(all).toMatchObject({
      caller: { name: 'admin', role: 'admin' },
      totals: { ...COUNTED.totals, collecting: 6 },
      vaults: [ofA, ofB],
      manager: { address: '0x01', limit_gwei: '40', vaults: [movedA, movedB] },
      unserved: [{ vault: NAME_A, asked_at_timestamp: askedAt }, { vault: NAME_B }],
      registry: { next_block: 11, next_deposit_index: 12, public_keys: 13 },
      ...{ queue: { waiting: 7, active: 1 }, doubts: HERE.doubts, clusters_left_out: 0 },
      processes: [{ role: 'worker', there: true }],
    })
    expect(all.clusters.map(({ name, collecting: some }) => [name, some])).toEqual([
      ['c1', 3],
      ['c2', 2],
    ])
    expect([keysOf(all), all.validators.key]).toEqual([[key], null])
    expect(all.unused).not.toHaveProperty('registry')

    const owner = await of(ofVault(A))
    expect(owner).toMatchObject({ totals: null, queue: null, vaults: [ofA], clusters: [{ name: 'c1' }] })
    expect([owner.vaults.length, owner.manager?.vaults, owner.unserved.map((one) => one.vault)]).toEqual([
      1,
      [movedA],
      [NAME_A],
    ])
    expect([keysOf(owner), keysOf(await of(ofVault(B)))]).toEqual([[key], []])
    expect(await of(NODE)).toMatchObject({ totals: null, queue: null, vaults: [], manager: null, unserved: [] })
    expect(await of({ ...NODE, role: 'operator' })).toMatchObject({ queue: { waiting: 7 }, vaults: [{}, {}] })
  })

  it('says nothing of what is not there, what the manager signed before it lost its key, and of clusters a hundred', async () => {
    const { db, service, clock } = await openStatus()
    const of = async (address: string | null) => {
      clock.at += 20_000
      return service.of(ofVault(B), {}, { ...HERE, address })
    }
    expect((await of(null)).manager).toBeNull()
    expect((await of('0x01')).manager).toEqual({ address: '0x01', limit_gwei: null, vaults: [] })
    const clusters = Array.from({ length: 102 }, (_, n) => cluster(n + 1, B))
    await storeSnapshot(db, { ...COUNTED, clusters })
    const status = await of(null)
    const moved = { vault: NAME_B, signatures: { fund: 1 }, moved_gwei: '100', left_gwei: null, last_at_timestamp: AT }
    expect(status.manager).toEqual({ address: null, limit_gwei: null, vaults: [moved] })
    expect([status.clusters.length, status.clusters_left_out, status.registry]).toEqual([100, 2, null])
    expect(status.unused).toMatchObject({ registry: { state: 'not needed yet' } })
  })

  it('tells of a worker only where one is there, whatever else runs', async () => {
    const { db, service, clock, query, addCollecting } = await openStatus()
    await addCollecting(1, ['exit'])
    await query(sql`insert into partial_signatures (message_id, share_index, digest, sealed, state)
                    select id, 1, ${randomBytes(32)}, 'x', 'verified' from messages`)
    const says = async () => {
      clock.at += 20_000
      const { headline, validators } = await service.of(ADMIN, {}, HERE)
      return [headline.anchor, validators.items[0]?.verdict.code]
    }
    await storeBeat(db, { id: 'w', role: 'worker', version: VERSION })
    await storeBeat(db, { id: 'a', role: 'api', version: VERSION })
    expect(await says()).toEqual([expect.not.stringContaining('no-worker'), 'BEING_FINISHED'])
    await storeStop(db, 'w')
    expect(await says()).toEqual(['no-worker', 'NO_WORKER'])
  })
})

describe('the validators of a page', () => {
  it('are twenty-five with whatever is collected of each, and the next begins behind them', async () => {
    const { service, parts, addCollecting } = await openStatus()
    const keys = await addCollecting(26, ['exit', 'deposit'])
    for (const ask of [
      (query: { after?: string; key?: string }) => service.of(ADMIN, query, HERE),
      (query: { after?: string; key?: string }) => statusToAdmin(parts, query),
    ]) {
      const first = await ask({})
      expect([keysOf(first), first.validators.key]).toEqual([keys.slice(0, 25), null])
      const second = await ask({ after: String(first.validators.next) })
      expect([keysOf(second), second.validators.next]).toEqual([keys.slice(25), null])
      expect(keysOf(await ask({ after: '0' }))).toEqual(keys.slice(0, 25))
      const [, , third = ''] = keys
      const found = await ask({ key: ` ${third.slice(0, 20)} ` })
      expect([keysOf(found), found.validators]).toEqual([
        [third],
        expect.objectContaining({ key: third.slice(0, 20), next: null }),
      ])
      // Nothing is looked for: it is the first page.
      for (const key of [' ', '0x']) expect(keysOf(await ask({ key }))).toEqual(keys.slice(0, 25))
    }
  })

  it('of a caller that few are of are found behind those of others', async () => {
    const { service, query, addCollecting } = await openStatus()
    await addCollecting(53, ['exit'])
    const [own = ''] = await addCollecting(1, ['exit'], B)
    await query(sql`insert into key_shares (validator_id, share_index, public_key_share, source)
                    select id, case when vault = ${B} then 2 else 1 end, public_key, 'lock' from validators`)
    expect(keysOf(await service.of(ofVault(B), {}, HERE))).toEqual([own])
    expect(keysOf(await service.of(NODE, {}, HERE))).toEqual([own])
  })

  it('of a node that signed its request are those of its clusters', async () => {
    const { service, query, addCollecting } = await openStatus()
    const [first = '', second = ''] = await addCollecting(2, ['exit'])
    const lockHash = randomBytes(32)
    await query(sql`insert into clusters (id, lock_hash, name, threshold, source)
                    values (1, ${lockHash}, 'a', 2, 'lock'), (2, null, 'b', 2, 'ssv')`)
    await query(sql`update validators set cluster_id = id`)
    const of = async (node: NonNullable<Parameters<typeof service.of>[0]['node']>) =>
      keysOf(await service.of({ ...NODE, name: JSON.stringify(node), node }, {}, HERE))
    expect(await of({ locks: [{ lockHash, shareIndex: 2 }] })).toEqual([first])
    expect(await of({ locks: [] })).toEqual([])
    expect(await of({ operatorId: 2 })).toEqual([second])
    expect(keysOf(await service.of(NODE, {}, HERE))).toEqual([first, second])
  })
})

describe('an answer', () => {
  it('is good for a second', async () => {
    const { service, clock, addCollecting } = await openStatus()
    const [first = ''] = await addCollecting(1, ['exit'])
    const ask = async (query = {}) => keysOf(await service.of(ADMIN, query, HERE))
    expect(await ask()).toEqual([first])
    const [second = ''] = await addCollecting(1, ['exit'])
    clock.at += 999
    expect(await ask()).toEqual([first])
    clock.at += 1
    expect(await ask()).toEqual([first, second])
  })

  it('is given to seventeen of one caller at once, and to another beside them', async () => {
    const { db, parts } = await openStatus()
    const held = Promise.withResolvers<void>()
    let isHeld = true
    const execute = async (statement: Parameters<Database['execute']>[0]) => {
      if (isHeld) await held.promise
      return db.execute(statement)
    }
    const slow = new Proxy(db, { get: (_, name) => (name === 'execute' ? execute : Reflect.get(db, name)) })
    const queue = { counts: async () => undefined } as unknown as JobQueue
    const service = createStatus({ ...parts, db: slow, queue })
    const asked = Array.from({ length: 18 }, () => service.of(ADMIN, {}, HERE))
    const other = service.of(ofVault(A), {}, HERE)
    const last = asked.pop()
    await expect(last).rejects.toMatchObject({ code: 'TOO_BUSY' })
    isHeld = false
    held.resolve()
    for (const status of await Promise.all([...asked, other])) expect(status.queue).toBeNull()
  })
})
