import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { emptySsvState, type SsvScope } from '@dvt-relayer/chain/ssv/registry.ts'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { createSsvStateFile } from './state-file.ts'

let root = ''
let files = 0
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'ssv-state-'))
})
afterAll(() => rm(root, { recursive: true, force: true }))

const scopeOf = (id: number): SsvScope => ({
  contract: { address: new Uint8Array(20).fill(1), block: 100 },
  owners: undefined,
  operators: { ids: [id], publicKeys: [] },
})
const scope = scopeOf(1)
const stateAt = (nextBlock: number) => ({ ...emptySsvState(scope), nextBlock })

function open(
  path = join(root, `folder-${files++}`, 'state.json'),
  more: { scope?: SsvScope; isReadOnly?: boolean } = {},
) {
  const events = { ssvStateUseless: vi.fn(), ssvStateUnwritable: vi.fn() }
  return { ...createSsvStateFile({ path, scope, ...more }, events), events }
}

it('is made with its folder, and gives what was saved to who starts again', async () => {
  const { path, load, save, events } = open()
  expect(await load()).toEqual(emptySsvState(scope))
  await save(stateAt(500))
  await save(stateAt(600))
  expect(await open(path).load()).toEqual(stateAt(600))
  expect([events.ssvStateUseless.mock.calls, events.ssvStateUnwritable.mock.calls]).toEqual([[], []])
})

it('is not written again where nothing has changed', async () => {
  const { path, load, save } = open()
  const state = stateAt(500)
  await save(state)
  await rm(path)
  await save(state)
  await expect(readFile(path)).rejects.toThrow('ENOENT')
  await save(stateAt(600))
  const again = open(path)
  const loaded = await again.load()
  await rm(path)
  await again.save(loaded)
  await expect(readFile(path)).rejects.toThrow('ENOENT')
  expect((await load()).nextBlock).toBe(100)
})

it('that is broken, or of another scope, is told of and worth nothing', async () => {
  const { path, save } = open()
  await save(stateAt(500))
  const other = open(path, { scope: scopeOf(2) })
  expect(await other.load()).toEqual(emptySsvState(scopeOf(2)))
  expect(other.events.ssvStateUseless.mock.calls).toEqual([[path, 'other_scope']])
  await writeFile(path, '{')
  const broken = open(path)
  expect(await broken.load()).toEqual(emptySsvState(scope))
  expect(broken.events.ssvStateUseless.mock.calls).toEqual([[path, 'broken']])
})

it('of who only looks is left as it is', async () => {
  const { path, save } = open()
  await save(stateAt(500))
  const reader = open(path, { isReadOnly: true })
  await reader.save(stateAt(600))
  expect((await reader.load()).nextBlock).toBe(500)
})

it('that cannot be written is told of once, until it could be again', async () => {
  const { path, save, events } = open()
  await mkdir(path, { recursive: true })
  await save(stateAt(500))
  await save(stateAt(600))
  expect(events.ssvStateUnwritable.mock.calls).toEqual([[path, expect.any(String)]])
  await rm(path, { recursive: true })
  await save(stateAt(700))
  await rm(path)
  await mkdir(path)
  await save(stateAt(800))
  expect(events.ssvStateUnwritable).toHaveBeenCalledTimes(2)
})
