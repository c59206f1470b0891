/** Which generation a relayer speaks is found from its lists, and found again when it changes. */

import { existsSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { startSidecar } from '../../../apps/sidecar/src/sidecar.ts'
import { silentLogger } from '../../../libs/common/src/log/logger.ts'
import { type StandInRelayer, startStandInRelayer } from './stand-in.ts'
import {
  configOf,
  expectAllPairsRight,
  expectAllRight,
  hasten,
  journalFolder,
  keysOf,
  recordingLogger,
} from './support.ts'

const quiet = { logger: silentLogger }
const NAME = 'cluster-4'
const [KEY = '', OTHER = '', THIRD = ''] = keysOf(NAME)
const HEAL_MS = 100
const asked = (relayer: StandInRelayer, path: string) =>
  relayer.requests.filter((line) => line === `GET ${path}`).length

describe('GENERATION=auto', () => {
  it('signs exits for a relayer of generation 3, is ready, and asks for the other list now and then', async () => {
    await using folder = await journalFolder()
    await using relayer = await startStandInRelayer({ generation: 'existing', lists: ['exits'] })
    relayer.addExit(KEY, 7)
    const { logger, find } = recordingLogger()
    const config = hasten(configOf(NAME, 0, relayer.url, { JOURNAL_FILE: folder.file() }), HEAL_MS)
    await using sidecar = await startSidecar(config, { logger })
    await relayer.until(() => relayer.posts.length > 0 && sidecar.ready().status === 'ready')
    expectAllRight(NAME, relayer.posts)
    await relayer.until(() => asked(relayer, '/validators') >= 3)
    expect(asked(relayer, '/exits')).toBeGreaterThan(2)
    expect(find('relayer does not have the list')).toMatchObject([{ list: 'GET /validators' }])
    expect(find('relayer has the list')).toMatchObject([{ list: 'GET /exits' }])
    expect(find('check fails')).toEqual([])
  })

  it('signs pairs for a relayer of generation 4 that has no list of exits, and is ready', async () => {
    await using folder = await journalFolder()
    await using relayer = await startStandInRelayer({ generation: 'existing', lists: ['validators'] })
    relayer.addValidator(KEY, 7)
    const { logger, find } = recordingLogger()
    const config = hasten(configOf(NAME, 0, relayer.url, { JOURNAL_FILE: folder.file() }), HEAL_MS)
    await using sidecar = await startSidecar(config, { logger })
    await relayer.until(() => relayer.pairs.length > 0 && sidecar.ready().status === 'ready')
    expectAllPairsRight(NAME, relayer.pairs)
    await relayer.until(() => asked(relayer, '/exits') >= 3)
    expect(find('relayer does not have the list')).toMatchObject([{ list: 'GET /exits' }])
    expect(find('check fails')).toEqual([])
    expect(relayer.requests).not.toContain('POST /exit-signature')
  })

  it('is not ready where neither list is there, until one is', async () => {
    await using folder = await journalFolder()
    await using relayer = await startStandInRelayer({ generation: 'existing', lists: [] })
    relayer.addValidator(KEY, 7)
    const config = hasten(configOf(NAME, 0, relayer.url, { JOURNAL_FILE: folder.file() }), HEAL_MS)
    await using sidecar = await startSidecar(config, quiet)
    await relayer.until(() => asked(relayer, '/exits') >= 2 && asked(relayer, '/validators') >= 2)
    expect(sidecar.ready().checks['relayer']).toEqual({
      ok: false,
      message: 'the relayer knows none of GET /exits, GET /validators',
    })
    relayer.lists.add('validators')
    await relayer.until(() => relayer.pairs.length > 0 && sidecar.ready().status === 'ready')
  })

  it.each(['existing', 'ours'] as const)(
    'follows a relayer (%s) that changes its generation, there and back',
    async (generation) => {
      await using folder = await journalFolder()
      await using relayer = await startStandInRelayer({ generation, lists: ['exits'] })
      relayer.addValidator(KEY, 7)
      const { logger, find } = recordingLogger()
      const config = hasten(configOf(NAME, 0, relayer.url, { JOURNAL_FILE: folder.file() }), HEAL_MS)
      await using sidecar = await startSidecar(config, { logger })
      await relayer.until(() => relayer.posts.length > 0)
      expect(existsSync(folder.file())).toBe(false)

      relayer.lists.add('validators')
      await relayer.until(() => relayer.pairs.length > 0)
      expectAllPairsRight(NAME, relayer.pairs)

      relayer.lists.delete('exits')
      relayer.addValidator(OTHER, 8)
      await relayer.until(() => relayer.pairs.some(({ publicKey }) => publicKey === OTHER))
      await relayer.until(() => find('relayer does not have the list', { list: 'GET /exits' }).length === 1)

      relayer.lists.delete('validators')
      relayer.lists.add('exits')
      await relayer.until(() => find('relayer does not have the list', { list: 'GET /validators' }).length === 2)
      relayer.addValidator(THIRD, 9)
      await relayer.until(() => relayer.posts.some(({ publicKey }) => publicKey === THIRD))
      await relayer.until(() => sidecar.ready().status === 'ready')
      // Nothing is posted to a path that is not there any more.
      const posted = relayer.requests.lastIndexOf('POST /signatures')
      relayer.takes = false
      relayer.addValidator(KEY, 70)
      await relayer.until(() => relayer.posts.filter(({ publicKey }) => publicKey === KEY).length > 3)
      expect(relayer.requests.lastIndexOf('POST /signatures')).toBe(posted)
      expectAllRight(
        NAME,
        relayer.posts.filter(({ publicKey }) => publicKey !== KEY),
      )
    },
  )

  it('takes a path that is not there below a wrong address for a fault, not for a generation', async () => {
    await using folder = await journalFolder()
    await using relayer = await startStandInRelayer({ generation: 'existing' })
    const { logger, find } = recordingLogger()
    const config = configOf(NAME, 0, `${relayer.url}/wrong`, { JOURNAL_FILE: folder.file() })
    await using sidecar = await startSidecar(config, { logger })
    await relayer.until(() => relayer.seen.length > 4)
    expect(sidecar.ready().checks['relayer']).toMatchObject({
      ok: false,
      message: expect.stringContaining('status 404'),
    })
    expect(find('relayer does not have the list')).toEqual([])
  })
})

describe('GENERATION set', () => {
  it('3 asks for exits alone', async () => {
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    relayer.addValidator(KEY, 7)
    const { logger, find } = recordingLogger()
    await using sidecar = await startSidecar(configOf(NAME, 0, relayer.url, { GENERATION: '3' }), { logger })
    await relayer.until(() => relayer.posts.length > 0)
    expectAllRight(NAME, relayer.posts)
    expect(asked(relayer, '/validators')).toBe(0)
    expect(Object.keys(sidecar.ready().checks)).toEqual(['keys', 'relayer', 'network'])
    expect(find('relayer has the list')).toMatchObject([{ list: 'GET /exits' }])
  })

  it('4 asks for validators alone, makes the journal at once, and is not ready where they are unknown', async () => {
    await using folder = await journalFolder()
    await using relayer = await startStandInRelayer({ generation: 'ours', lists: ['exits'] })
    relayer.addValidator(KEY, 7)
    const config = hasten(configOf(NAME, 0, relayer.url, { GENERATION: '4', JOURNAL_FILE: folder.file() }), HEAL_MS)
    await using sidecar = await startSidecar(config, quiet)
    expect(existsSync(folder.file())).toBe(true)
    await relayer.until(() => asked(relayer, '/validators') >= 2)
    expect(sidecar.ready()).toMatchObject({
      status: 'not_ready',
      checks: {
        relayer: { ok: false, message: expect.stringMatching(/GET \/validators at .* answers with status 405/) },
        journal: { ok: true },
      },
    })
    relayer.lists.add('validators')
    await relayer.until(() => relayer.pairs.length > 0 && sidecar.ready().status === 'ready')
    expect(asked(relayer, '/exits')).toBe(0)
    expect(relayer.posts).toEqual([])
  })
})
