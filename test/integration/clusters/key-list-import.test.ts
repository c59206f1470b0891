/** The list of keys, taken over: when it is, what is said of it, and what keeps it from being. */

import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { sql } from 'drizzle-orm'
import { expect, it, onTestFinished } from 'vitest'
import { importKeyList } from '../../../apps/relayer/src/services/clusters/key-list.ts'
import { openMessages } from '../../support/stages/messages.ts'
import { recordingLogger } from '../sidecar/support.ts'

const OWNERS = [new Uint8Array(20).fill(1)]
const SSV = { views: 'a network with SSV' }
const WAITING = 'public keys are in no cluster yet: they are handed out once the chain has their SSV registration'

/** A database, and a list of one key with a cluster and one of no cluster. */
async function openList() {
  const store = await openMessages()
  await store.query(sql`insert into clusters (id, name, threshold, source) values (77, 'a', 4, 'lock')`)
  const covered = await store.addValidator()
  await store.query(sql`update validators set cluster_id = 77, place = 0 where id = ${covered.id}`)
  const folder = await mkdtemp(join(tmpdir(), 'dvt-key-list-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const file = join(folder, 'keys')
  const keys = { covered: toHex(covered.publicKey), other: toHex(randomBytes(48)) }
  /** Takes over this list, as a process with these settings does. */
  async function take(
    list: string[] | undefined,
    {
      threshold = 3 as number | null,
      role = 'all',
      owners = [] as Uint8Array[],
      ssvNetwork = SSV as object | null,
    } = {},
  ) {
    if (list !== undefined) await writeFile(file, list.join('\n'))
    const { logger, find } = recordingLogger()
    const config = {
      clusters: { publicKeysFile: list && file, signatureThreshold: threshold ?? undefined },
      role,
      ssv: { owners },
      network: { ssvNetwork: ssvNetwork ?? undefined },
    }
    const context = { config, db: store.db, logger } as unknown as Parameters<typeof importKeyList>[0]
    const failed = await importKeyList(context, { isPublicKey: () => true }).then(
      () => undefined,
      (error: { code: string }) => error.code,
    )
    return { failed, waiting: find(WAITING), listed: find('public keys listed') }
  }
  return {
    keys,
    take,
    /** The keys of the list's own cluster, and its threshold. */
    own: async () =>
      (
        await store.query<{ key: Buffer; threshold: number }>(sql`
          select v.public_key as key, c.threshold from validators v join clusters c on c.id = v.cluster_id and c.id <> 77`)
      ).map(({ key, threshold }) => [toHex(key), threshold]),
  }
}

it('makes a cluster with the threshold that is set of the keys that no other has', async () => {
  const { keys, take, own } = await openList()
  const { failed, waiting, listed } = await take([keys.covered, keys.other])
  expect([failed, waiting]).toEqual([undefined, []])
  expect(listed).toMatchObject([{ keys: 2, of_clusters: 1, unlisted: 0 }])
  expect(await own()).toEqual([[keys.other, 3]])
  // Followed events change nothing where a threshold is set.
  const second = toHex(randomBytes(48))
  expect((await take([keys.other, second], { owners: OWNERS })).waiting).toEqual([])
  expect(await own()).toEqual(
    expect.arrayContaining([
      [keys.other, 3],
      [second, 3],
    ]),
  )
  // One that is listed no more is nobody's, and so are all without a list.
  expect((await take([second])).listed).toMatchObject([{ keys: 1, unlisted: 1 }])
  expect(await own()).toEqual([[second, 3]])
  expect((await take(undefined)).listed).toMatchObject([{ keys: 0, unlisted: 1 }])
  expect(await own()).toEqual([])
  expect((await take(undefined)).listed).toEqual([])
})

it('waits without a threshold for the chain, where its SSV events are followed', async () => {
  const { keys, take, own } = await openList()
  const waits = await take([keys.covered, keys.other], { threshold: null, owners: OWNERS })
  expect(waits).toMatchObject({ failed: undefined, waiting: [{ keys: 1 }], listed: [{ keys: 2, of_clusters: 1 }] })
  const covered = await take([keys.covered], { threshold: null, owners: OWNERS })
  expect(covered).toMatchObject({ failed: undefined, waiting: [] })
  expect(await own()).toEqual([])
})

it.each([
  ['nobody is followed', { owners: [] }],
  ['the network has no SSV', { owners: OWNERS, ssvNetwork: null }],
])('is refused without a threshold where %s, and keys are in no cluster', async (_, settings) => {
  const { keys, take, own } = await openList()
  const refused = await take([keys.covered, keys.other], { threshold: null, ...settings })
  expect(refused).toEqual({ failed: 'THRESHOLD_UNKNOWN', waiting: [], listed: [] })
  expect(await own()).toEqual([])
  expect(await take([keys.covered], { threshold: null, ...settings })).toMatchObject({
    failed: undefined,
    listed: [{ keys: 1 }],
  })
})

it('is left alone by a process that hands nothing out', async () => {
  const { keys, take, own } = await openList()
  await take([keys.other])
  expect(await take(['nonsense'], { role: 'worker' })).toEqual({ failed: undefined, waiting: [], listed: [] })
  expect(await own()).toEqual([[keys.other, 3]])
  expect((await take(['nonsense'])).failed).toBe('PUBLIC_KEYS_INVALID')
})
