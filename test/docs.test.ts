/** README.md and .env.example say what the code says. `npm run docs` writes them. */

import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { renderEnvExample, renderReadme } from './support/docs.ts'

const read = (name: string) => readFileSync(new URL(`../${name}`, import.meta.url), 'utf8')

it('README.md has the tables of the code', () => {
  const readme = read('README.md')
  expect(renderReadme(readme)).toBe(readme)
})

it('.env.example has the settings of the code', () => {
  expect(read('.env.example')).toBe(renderEnvExample())
})

it('README.md documents every script', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
  const readme = read('README.md')
  for (const name of Object.keys(scripts)) expect(readme).toMatch(new RegExp(`npm (run )?${name}\\b`))
})
