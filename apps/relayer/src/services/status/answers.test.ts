/** How long an answer is good, and for whom. */

import { expect, it } from 'vitest'
import { createAnswers } from './answers.ts'

function setUp() {
  let [at, found] = [1_000_000, 0]
  const answers = createAnswers<number>(() => at, 10_000)
  const find = async () => ++found
  return { answers, find, pass: (ms: number) => (at += ms) }
}

it('is the same for as long as who asks takes it for fresh', async () => {
  const { answers, find, pass } = setUp()
  expect(await answers.get('a', 1000, find)).toBe(1)
  pass(999)
  expect(await answers.get('a', 1000, find)).toBe(1)
  pass(1)
  expect(await answers.get('a', 1000, find)).toBe(2)
  pass(5000)
  expect(await answers.get('a', 10_000, find)).toBe(2)
  expect(await answers.get('a', 1000, find)).toBe(3)
  expect(await answers.get('b', 1000, find)).toBe(4)
})

it('is forgotten when it is old, whoever asks for another', async () => {
  const { answers, find, pass } = setUp()
  for (let key = 0; key < 100; key++) await answers.get(String(key), 1000, find)
  expect(answers.size()).toBe(100)
  pass(10_000)
  await answers.get('another', 1000, find)
  expect(answers.size()).toBe(1)
})

it('that failed is asked for again', async () => {
  const { answers, find } = setUp()
  const fail = () => Promise.reject(new Error('away'))
  const both = [answers.get('a', 1000, fail), answers.get('a', 1000, find)]
  for (const answer of both) await expect(answer).rejects.toThrow('away')
  expect(answers.size()).toBe(0)
  expect(await answers.get('a', 1000, find)).toBe(1)
})
