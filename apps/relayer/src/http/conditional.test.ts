import { describe, expect, it } from 'vitest'
import { matchesTag } from './conditional.ts'

const tag = '"xy-_z"'

describe('If-None-Match', () => {
  it.each([
    tag,
    `W/${tag}`,
    '*',
    ' * ',
    ` ${tag} `,
    `"a", ${tag}`,
    `${tag},"b"`,
    `"a" ,W/${tag}\t, "b"`,
    `"a,b",${tag}`,
    `"",${tag}`,
  ])('%s names the tag', (field) => expect(matchesTag(field, tag)).toBe(true))

  it.each([
    undefined,
    '',
    ' ',
    'xy-_z',
    '"xy-_Z"',
    '"xy-_z',
    'w/"xy-_z"',
    '"*"',
    '"a","b"',
    '"a,"xy-_z"',
    `*, ${tag}`,
    `${tag}${tag}`,
    `"a" ${tag}`,
    `W/ ${tag}`,
  ])('%s does not', (field) => expect(matchesTag(field, tag)).toBe(false))
})
