/** What is said of keys that the list gives to another vault than a deposit was signed for. */

import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { importKeyList } from '../../../apps/relayer/src/services/clusters/key-list.ts'
import { openMessages } from '../../support/stages/messages.ts'
import { recordingLogger } from '../sidecar/support.ts'

const [A, B] = [Buffer.alloc(20, 0xaa), Buffer.alloc(20, 0xbb)]

it('a single one is named with its line, and nobody’s vault changes for it', async () => {
  const store = await openMessages()
  const [bound, other] = [await store.addValidator(), await store.addValidator()]
  await store.query(
    sql`insert into deposit_bindings (validator_id, vault) values (${bound.id}, ${A}), (${other.id}, ${B})`,
  )
  const publicKeysFile = join(tmpdir(), `key-list-${process.pid}`)
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
