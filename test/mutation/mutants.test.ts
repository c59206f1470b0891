import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { filesOf, GROUPS } from './groups.ts'
import { type Mutant, mutantsOf, mutate, sample, seeded } from './mutants.ts'
import { runsOf } from './runs.ts'

/** A value in a template of the source. */
const value = (text: string) => `$\{${text}}`
const SOURCE = `/** Not 1 here: a < b. */
import { a, type B } from './1.ts'
import './2 && 3.ts'

const [LIMIT, SIZE] = [64, 2048] // at most 64
const text = 'a && b, 3'
const other = \`c && ${value('4')} d\`
const pattern = /[/]5 && 6/g
export async function f(x: number) {
  if (!(await g(x))) return false
  await h(\`${value('x > 1')}\`)
  const rows = sql\`
    select 1 from t where a = ${value('x > 2 ? sql`b and c` : x')} and d is not null and coalesce(${value('x')}, e) order by e desc\`
  const [first = 0] = [rows[0] ?? 0, map.get(x) ?? 0, rowCount ?? 0]
  return x < LIMIT && rows.every((row) => row !== undefined)
}
`

const show = ({ line, before, after }: Mutant) => `${line}: ${before.trim()} -> ${after.trim()}`

describe('mutants', () => {
  const mutants = mutantsOf('file.ts', SOURCE)

  it('are of code and SQL, and of nothing else', () => {
    expect(mutants.map(show).toSorted()).toEqual(
      [
        '5: 64 -> 65',
        '10: if (! -> if (',
        '10: false -> true',
        `11: await h(\`${value('x > 1')}\`) -> void 0`,
        '13: 1 -> 2',
        '13: = -> <>',
        '13: and -> or',
        '13: and -> or',
        `13: coalesce(${value('x')}, e) -> coalesce(e, ${value('x')})`,
        '13: is not null -> is null',
        '13: desc -> ',
        '14: 0 -> 1',
        '14: 0 -> 1',
        '14: 0 -> 1',
        '15: < -> <=',
        '15: && -> ||',
        '15: .every( -> .some(',
        '15: !== -> ===',
      ].toSorted(),
    )
  })

  it('change one place each', () => {
    for (const mutant of mutants) {
      const changed = mutate(SOURCE, mutant)
      expect(changed.length - SOURCE.length).toBe(mutant.after.length - mutant.before.length)
      expect(changed.slice(0, mutant.offset)).toBe(SOURCE.slice(0, mutant.offset))
      expect(changed).not.toBe(SOURCE)
    }
  })

  it('are drawn by the seed, other lines first', () => {
    const draw = (seed: number, count: number) => sample(mutants, count, seeded(seed)).map(show)
    expect(draw(1, 15)).toEqual(draw(1, 15))
    expect(draw(1, 15)).not.toEqual(draw(2, 15))
    expect(new Set(sample(mutants, 5, seeded(3)).map(({ line }) => line)).size).toBe(5)
    expect(draw(4, 100)).toHaveLength(mutants.length)
  })
})

describe('groups', () => {
  const root = fileURLToPath(new URL('../..', import.meta.url))

  it.each(GROUPS)('$name are of sources and tests that are there', async (group) => {
    const code = await filesOf(root, group)
    expect(code.length).toBeGreaterThan(0)
    const wanted = new Set([...code, ...code.flatMap(group.tests)])
    expect([...wanted].filter((path) => !existsSync(join(root, path)))).toEqual([])
  })

  it('have the nearest tests run first', async () => {
    const [group] = GROUPS.filter(({ name }) => name === 'apps/relayer')
    if (group === undefined) throw new Error('there is no such group')
    const seconds = { 'test/integration/exits/owners.test.ts': 2, 'test/integration/exits/exits.test.ts': 1 }
    const runs = await runsOf(root, group, 'apps/relayer/src/services/exits/owner-copies.ts', seconds)
    expect(runs.map(({ args }) => args[0])).toEqual(['run', 'run', 'related', 'run'])
    expect(runs[0]?.order).toContain('apps/relayer/src/services/exits/message-rate.test.ts')
    expect(runs[1]?.order.slice(0, 2)).toEqual([
      'test/integration/exits/owner-copies.test.ts',
      'test/integration/exits/copies-due.test.ts',
    ])
    const all = readdirSync(join(root, 'test/integration/exits'), { recursive: true }).map(String)
    expect(new Set([...(runs[1]?.order ?? []), ...(runs[3]?.order ?? [])])).toEqual(
      new Set(all.filter((name) => name.endsWith('.test.ts')).map((name) => `test/integration/exits/${name}`)),
    )
  })
})
