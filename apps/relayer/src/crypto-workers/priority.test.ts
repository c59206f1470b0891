import { getPriority, setPriority } from 'node:os'
import { afterEach, expect, it, vi } from 'vitest'
import { giveWay } from './priority.ts'

vi.mock('node:os', { spy: true })
const platform = Object.getOwnPropertyDescriptor(process, 'platform') ?? {}

afterEach(() => {
  vi.resetAllMocks()
  Object.defineProperty(process, 'platform', platform)
})

it.each([
  ['a little', 0, 5],
  ['a little, where the process has others wait', -10, -5],
  ['as far as it goes', 16, 19],
  ['no further', 19, 19],
])('gives way %s', (_, own, given) => {
  Object.defineProperty(process, 'platform', { value: 'linux' })
  vi.mocked(getPriority).mockReturnValue(own)
  vi.mocked(setPriority).mockReturnValue()
  giveWay()
  expect(vi.mocked(setPriority).mock.calls).toEqual([[given]])
})

it('leaves the process alone where a priority is all of its threads’', () => {
  Object.defineProperty(process, 'platform', { value: 'darwin' })
  vi.mocked(setPriority).mockReturnValue()
  giveWay()
  expect(setPriority).not.toHaveBeenCalled()
})
