/** A sidecar follows the relayer's list page by page: whatever changes between two pages, it ends with what is listed. */

import type { RelayerClient } from '@dvt-relayer/api/client.ts'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createListPages } from '../../../../apps/relayer/src/services/signatures/list-pages.ts'
import { createListReader } from '../../../../apps/sidecar/src/lists/list-reader.ts'
import { createWorkList } from '../../../../apps/sidecar/src/lists/work-list.ts'

const KEYS = 12
const publicKey = (key: number) => Buffer.alloc(48, key + 1)
const hexOf = (key: number) => `0x${publicKey(key).toString('hex')}` as const
const shareOf = (key: number) => ({
  validatorPublicKey: hexOf(key),
  shareIndex: 1,
  publicKeyShares: [],
  withdrawalAddress: undefined,
})
const events = {
  itemsDropped: () => {},
  longPolling: () => {},
  listApplied: () => {},
  rejectionSeen: () => {},
}
const signal = new AbortController().signal

interface Row {
  id: number
  key: number
  revision: number
  isListed: boolean
}
const itemOf = ({ id, key }: Row) => ({
  public_key: hexOf(key),
  validator_index: id,
  is_exit_signature_ready: false,
  created_at_timestamp: 0,
  created_at_string: '',
  share_indexes_ready: [],
})

/** The messages of a database, and processes that have read of its changes as far as they have. */
function createDatabase(limit: number) {
  const live = new Map<number, Row>()
  const changes: Row[] = []
  let [revision, ids] = [0, 0]
  const change = (row: Omit<Row, 'revision'>) => changes.push({ ...row, revision })

  function startProcess() {
    const pages = createListPages('exits')
    let seen = 0
    const load = () => {
      for (const row of changes.slice(seen)) pages.take({ ...row, publicKey: publicKey(row.key) }, () => itemOf(row))
      seen = changes.length
      pages.loaded(changes.at(-1)?.revision ?? 0)
    }
    return { pages, load, revisionSeen: () => changes[seen - 1]?.revision ?? 0 }
  }
  let processes = [startProcess(), startProcess()]

  return {
    live,
    /** A key is listed by a new message, or another one in place of its own. */
    list(key: number): void {
      revision++
      const old = live.get(key)
      if (old !== undefined) change({ ...old, isListed: false })
      const row = { id: ++ids * 50, key, revision, isListed: true }
      live.set(key, row)
      changes.push(row)
    },
    unlist(key: number): void {
      const old = live.get(key)
      if (old === undefined) return
      revision++
      change({ ...old, isListed: false })
      live.delete(key)
    },
    touch(key: number): void {
      const old = live.get(key)
      if (old === undefined) return
      revision++
      change(old)
    },
    restart(which: number): void {
      processes = processes.map((process, position) => (position === which ? startProcess() : process))
    },
    /** Answers as a process does; one that is not up to date shows what it has. */
    async ask(which: number, isUpToDate: boolean, query: { after?: number; from?: number }) {
      const process = processes[which]
      if (process === undefined) throw new Error('no such process')
      if (isUpToDate || process.revisionSeen() === 0) process.load()
      const page = await process.pages.page({ limit, from: query.from, after: query.after }, process.revisionSeen())
      return JSON.parse(page.toString())
    },
  }
}

const action = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ what: fc.constant('read' as const), which: fc.nat(1), isUpToDate: fc.boolean() }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ what: fc.constantFrom('list' as const, 'unlist', 'touch'), key: fc.nat(KEYS - 1) }),
  },
  { weight: 1, arbitrary: fc.record({ what: fc.constant('restart' as const), which: fc.nat(1) }) },
)

describe('a list that is followed page by page', () => {
  it('ends with what is listed, whatever changes between two pages, whichever process answers', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 80 }), fc.integer({ min: 1, max: 5 }), async (actions, limit) => {
        const database = createDatabase(limit)
        const workList = createWorkList(
          Array.from({ length: KEYS }, (_, key) => shareOf(key)),
          1000,
        )
        let next = { which: 0, isUpToDate: true }
        const relayer = {
          getExits: async (query: { after?: number; from?: number }) =>
            database.ask(next.which, next.isUpToDate, query),
        } as unknown as RelayerClient
        const reader = createListReader({ relayer, workList, events, healIntervalMs: 1e9 }, 'exits')
        for (const step of actions) {
          if (step.what === 'restart') database.restart(step.which)
          else if (step.what !== 'read') database[step.what](step.key)
          else {
            next = step
            // What cannot follow makes it start anew, as whoever follows a list does.
            await reader.read(signal).catch(() => reader.startAnew())
          }
        }
        next = { which: 0, isUpToDate: true }
        for (let isOver = false, looks = 0; !isOver; looks++) {
          if (looks > 100) throw new Error('it never comes to an end')
          const { hasMore } = await reader.read(signal).catch(() => {
            reader.startAnew()
            return { hasMore: true }
          })
          isOver = !hasMore && looks > 2
        }
        for (let key = 0; key < KEYS; key++) {
          const entry = workList.find(shareOf(key))
          const listed = database.live.get(key)
          expect([key, entry?.listing]).toEqual([key, listed === undefined ? 'unlisted' : 'wanted'])
          if (listed !== undefined) expect(entry?.wanted?.validatorIndex).toBe(listed.id)
        }
      }),
      { numRuns: 300 },
    )
  })
})
