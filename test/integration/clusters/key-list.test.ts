/** The list of keys: what it locks while it is stored, and what is said of keys that it gives to another vault than a deposit was signed for. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { lockListed } from '@dvt-relayer/db/queries/messages/registrations.ts'
import { sql } from 'drizzle-orm'
import { expect, it, onTestFinished } from 'vitest'
import { importKeyList } from '../../../apps/relayer/src/services/clusters/key-list.ts'
import { openMessages } from '../../support/stages/messages.ts'
import { recordingLogger } from '../sidecar/support.ts'

const [A, B] = [Buffer.alloc(20, 0xaa), Buffer.alloc(20, 0xbb)]

it('a single key of a deposit for another vault is named with its line, and no vault changes for it', async () => {
  const store = await openMessages()
  const [bound, other] = [await store.addValidator(), await store.addValidator()]
  await store.query(
    sql`insert into deposit_bindings (validator_id, vault) values (${bound.id}, ${A}), (${other.id}, ${B})`,
  )
  const folder = await mkdtemp(join(tmpdir(), 'dvt-key-list-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const publicKeysFile = join(folder, 'keys')
  await writeFile(publicKeysFile, [other, bound].map(({ publicKey }) => `${toHex(publicKey)} ${toHex(B)}`).join('\n'))
  const config = {
    clusters: { publicKeysFile, signatureThreshold: 3 },
    role: 'api' as const,
    ssv: { owners: [] },
    network: networks.hoodi,
  }
  const { logger, find } = recordingLogger()
  const context = { config, db: store.db, logger } as unknown as Parameters<typeof importKeyList>[0]
  await importKeyList(context, { isPublicKey: () => true })
  expect(
    find('public keys are listed for another vault than the one that a deposit was signed for: no vault is given them'),
  ).toMatchObject([{ keys: 1, lines: [2] }])
  expect(await store.query(sql`select vault from deposit_bindings order by validator_id`)).toEqual([
    { vault: A },
    { vault: B },
  ])
})

it('all that was listed and all that is are locked until it is stored, and nothing else', async () => {
  const store = await openMessages()
  const clusterOf = async (source: string) =>
    (
      await store.query<{ id: string }>(
        sql`insert into clusters (name, threshold, source) values (${source}, 3, ${source}) returning id`,
      )
    )[0]?.id ?? ''
  const [list, other] = [await clusterOf('list'), await clusterOf('ssv')]
  const names = new Map<string, string>()
  const add = async (name: string, cluster: string | null, vault: Buffer | null) => {
    const { id, publicKey } = await store.addValidator()
    names.set(toHex(publicKey), name)
    await store.query(sql`update validators set cluster_id = ${cluster}, listed_vault = ${vault} where id = ${id}`)
    return publicKey
  }
  await add('listed before', list, null)
  await add('listed for a vault', null, A)
  await add('of a cluster', other, null)
  await add('of nobody', null, null)
  const now = await add('listed now', null, null)
  const free = await store.db.transaction(async (tx) => {
    await lockListed(tx, [now])
    return await store.query<{ public_key: Buffer }>(
      sql`select public_key from validators for no key update skip locked`,
    )
  })
  expect(free.map(({ public_key: key }) => names.get(toHex(key))).toSorted()).toEqual(['of a cluster', 'of nobody'])
})
