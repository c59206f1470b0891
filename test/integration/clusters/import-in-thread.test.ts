/** Files that another thread reads again: what is wrong with them, and what is wrong with the database meanwhile. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { sql } from 'drizzle-orm'
import { expect, it, onTestFinished } from 'vitest'
import { importInThread } from '../../../apps/relayer/src/services/clusters/import-in-thread.ts'
import { openMessages } from '../../support/stages/messages.ts'

it('is tried again where the database was in the way, whatever is wrong with a file beside it', async () => {
  const { query, url } = await openMessages()
  const dir = await mkdtemp(join(tmpdir(), 'dvt-in-thread-'))
  onTestFinished(() => rm(dir, { recursive: true }))
  const [lock, list] = [join(dir, 'broken.json'), join(dir, 'keys')]
  await writeFile(lock, '{')
  await writeFile(
    list,
    `0x${'97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb'}`,
  )
  const config = {
    ...{ network: networks.hoodi, role: 'all', ssv: { owners: [], keysharesFiles: [], proofsFiles: [] } },
    clusters: { lockFiles: [lock], lockHashes: [], replaces: [], publicKeysFile: list, signatureThreshold: 3 },
  }
  await query(sql`create function fail() returns trigger language plpgsql as
                  'begin raise exception using errcode = ''53100''; end'`)
  await query(sql`create trigger full_disk before insert on validators for each statement execute function fail()`)
  const signal = new AbortController().signal
  const done = importInThread(
    { config, logger: silentLogger, events: {} } as unknown as Parameters<typeof importInThread>[0],
    url,
    signal,
  )
  await expect(done).rejects.toThrow(/broken\.json.*; the disk of the database is full/s)
})
