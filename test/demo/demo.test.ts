import { expect, test } from 'vitest'
import { chooseGeneration } from './demo.ts'

test.each([
  [undefined, true, 4],
  [3, true, 3],
  [4, true, 4],
  [3, false, 3],
] as const)('asked for generation %s with an EVM node %s, the demo shows %s', (asked, hasAnvil, generation) => {
  expect(chooseGeneration(asked, hasAnvil)).toEqual({ generation })
})

test('without an EVM node the demo says why it shows generation 3', () => {
  const { generation, remark } = chooseGeneration(undefined, false)
  expect(generation).toBe(3)
  expect(remark).toContain('no anvil for this platform')
})

test('without an EVM node it refuses generation 4 and says what to do', () => {
  const { generation, remark } = chooseGeneration(4, false)
  expect(generation).toBeUndefined()
  expect(remark).toContain('npm run demo -- --generation 3')
})
