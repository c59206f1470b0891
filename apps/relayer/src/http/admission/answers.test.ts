import type { Account } from '@dvt-relayer/common/account.ts'
import { expect, it } from 'vitest'
import { createAnswers } from './answers.ts'

const of = (name: string): Account => ({ group: 'sidecar', name })

/** Readers by name, and who of them is cut off. */
function scene(limits: { ofOne: number; total: number }) {
  const answers = createAnswers(limits)
  const cut: string[] = []
  const read = (reader: string, owner: string, bytes: Buffer) =>
    answers.hold(of(owner), bytes, () => void cut.push(reader))
  return { answers, cut, read }
}

it('the same bytes count once, however many read them', () => {
  const { answers, cut, read } = scene({ ofOne: 100, total: 100 })
  const list = Buffer.alloc(80)
  const over = Array.from({ length: 50 }, (_, number) => read(`${number}`, number % 2 === 0 ? 'a' : 'b', list))
  expect([answers.held(), cut]).toEqual([80, []])
  for (const end of over) end()
  expect(answers.held()).toBe(0)
})

it('who lets answers pile up loses the oldest, and nobody else does', () => {
  const { answers, cut, read } = scene({ ofOne: 100, total: 250 })
  read('honest', 'b', Buffer.alloc(60))
  for (const number of [1, 2, 3, 4]) read(`attacker ${number}`, 'a', Buffer.alloc(40))
  expect(cut).toEqual(['attacker 1', 'attacker 2'])
  expect(answers.held()).toBe(140)
})

it('where all together are too many, whoever has the most loses its oldest', () => {
  const { answers, cut, read } = scene({ ofOne: 100, total: 150 })
  read('a', 'a', Buffer.alloc(40))
  for (const number of [1, 2, 3]) read(`b ${number}`, 'b', Buffer.alloc(30))
  expect(cut).toEqual([])
  read('c', 'c', Buffer.alloc(40))
  expect(cut).toEqual(['b 1'])
  expect(answers.held()).toBe(140)
})

it('one answer may be there however large it is', () => {
  const { answers, cut, read } = scene({ ofOne: 100, total: 150 })
  read('large', 'a', Buffer.alloc(400))
  expect([answers.held(), cut]).toEqual([400, []])
})
