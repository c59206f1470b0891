/** What a start does with the files of clusters and keys: in which order, what it says of settings beside them, and which deposits are ready then. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { sql } from 'drizzle-orm'
import { expect, it, onTestFinished } from 'vitest'
import { importClusters, importFiles } from '../../../apps/relayer/src/services/clusters/import-clusters.ts'
import { makeCluster, makeLockDeposit } from '../../support/keys/make-cluster.ts'
import { ssvPath } from '../../support/keys/ssv.ts'
import { openMessages } from '../../support/stages/messages.ts'
import { engine } from '../../support/world/nodes.ts'
import { recordingLogger } from '../sidecar/support.ts'

const network = networks.hoodi
const VAULT = new Uint8Array(20).fill(0x8a)
const KEYSHARES = ssvPath('cluster-4/keyshares.json')
const OWNER = new Uint8Array(20).fill(7)

/** A database, a lock of one validator with its deposit, and what a start on them does. */
async function openStart() {
  const database = await openMessages()
  const dir = await mkdtemp(join(tmpdir(), 'dvt-import-'))
  onTestFinished(() => rm(dir, { recursive: true }))
  const cluster = await makeCluster({
    ...{ dir, nodes: 4, threshold: 3, validators: 1, network, withdrawalAddress: VAULT, feeRecipient: VAULT },
    deposits: (validator) => [
      makeLockDeposit(validator, {
        ...{ vault: VAULT, type: '0x01', ether: 32n },
        genesisForkVersion: network.genesisForkVersion,
      }),
    ],
  })
  const contextOf = ({
    lockFiles = [] as string[],
    keysharesFiles = [] as string[],
    owners = [] as Uint8Array[],
    signatureThreshold = undefined as number | undefined,
    publicKeysFile = undefined as string | undefined,
  }) => {
    const { logger, text } = recordingLogger()
    const verified: number[] = []
    const context = {
      config: {
        ...{ network, role: 'all' },
        clusters: { lockFiles, lockHashes: [], replaces: [], signatureThreshold, publicKeysFile },
        ssv: { owners, keysharesFiles, proofsFiles: [] },
      },
      crypto: {
        verify: async (triples: readonly unknown[]) => {
          verified.push(triples.length)
          return triples.map(() => true)
        },
      },
      ...{ db: database.db, sealing: database.sealing, logger, announced() {}, chain: { execution: { each: [] } } },
      events: { ssvImported() {}, messagesReady() {} },
    } as unknown as Parameters<typeof importClusters>[0]
    return { context, verified, text }
  }
  return {
    ...{ ...database, dir, cluster, contextOf },
    /** Starts with these settings: whether registrations are followed, how many signatures workers verified, and what was said. */
    async start(settings: Parameters<typeof contextOf>[0]) {
      const { context, verified, text } = contextOf(settings)
      const follower = await importClusters(context)
      const words = /^(SSV_OWNERS is not set|SIGNATURE_THRESHOLD is not the threshold of any)/
      const lines = text.map((line) => JSON.parse(line) as { msg: string; threshold?: number })
      const said = lines.flatMap(({ msg }) => words.exec(msg)?.[0] ?? [])
      return { isFollowed: follower !== undefined, verified, said }
    },
  }
}
const NO_OWNERS = 'SSV_OWNERS is not set'
const OTHER_THRESHOLD = 'SIGNATURE_THRESHOLD is not the threshold of any'

it('a start says which settings do not fit its files, and has a worker verify before it does so itself', async () => {
  const { start, cluster, query, addDeposit } = await openStart()
  const { lockFile } = cluster
  const quiet = { isFollowed: false, verified: [] as number[], said: [] as string[] }
  expect(await start({})).toEqual(quiet)
  // Nothing is known yet that a threshold could be held against.
  expect(await start({ signatureThreshold: 9 })).toEqual(quiet)
  expect(await start({ owners: [OWNER] })).toEqual({ ...quiet, isFollowed: true })
  expect(await start({ keysharesFiles: [KEYSHARES], owners: [OWNER] })).toEqual({
    ...quiet,
    isFollowed: true,
    verified: [2],
  })
  expect(await start({ keysharesFiles: [KEYSHARES] })).toEqual({ ...quiet, verified: [2], said: [NO_OWNERS] })
  await query(sql`delete from key_shares`)
  await query(sql`delete from validators`)
  await query(sql`delete from clusters`)
  expect(await start({ lockFiles: [lockFile], signatureThreshold: 4 })).toEqual({
    ...quiet,
    verified: [2],
    said: [OTHER_THRESHOLD],
  })
  expect(await start({ lockFiles: [lockFile], signatureThreshold: 3 })).toEqual({ ...quiet, verified: [2] })
  expect(await start({ lockFiles: [lockFile] })).toEqual({ ...quiet, verified: [2] })

  // A deposit that was asked for while nobody was there to complete it.
  const [{ id = 0 } = {}] = await query<{ id: number }>(sql`select id::int from validators`)
  const deposit = await addDeposit(id, { vault: VAULT })
  expect(await start({})).toEqual({ ...quiet, verified: [1] })
  expect(await query(sql`select state from messages where id = ${deposit}`)).toEqual([{ state: 'ready' }])
})

it('a file that is refused ends a start, and keeps no other file from being taken while a process runs', async () => {
  const { dir, contextOf, query } = await openStart()
  const [lock, list] = [join(dir, 'broken.json'), join(dir, 'keys')]
  await writeFile(lock, '{')
  const key = toHex(engine.publicKeyOf(new Uint8Array(32).fill(5)))
  await writeFile(list, key)
  const { context } = contextOf({ lockFiles: [lock], publicKeysFile: list, signatureThreshold: 3 })
  const keys = async () =>
    (await query<{ key: Buffer }>(sql`select public_key as key from validators`)).map((row) => toHex(row.key))
  await expect(importFiles(context, engine, 'first')).rejects.toThrow(lock)
  expect(await keys()).toEqual([])
  expect(await importFiles(context, engine, 'all')).toEqual([
    expect.objectContaining({ message: expect.stringContaining(lock) }),
  ])
  expect(await keys()).toEqual([key])
})
