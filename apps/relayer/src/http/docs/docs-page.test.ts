/** The page of `GET /docs`. */

import { createHash } from 'node:crypto'
import { expect, it } from 'vitest'
import { DOCS_CSP, renderDocs } from './docs-page.ts'

it('says what the document says, and nothing of it becomes markup', () => {
  const page = renderDocs({
    info: { title: 'a<b', version: '4', description: '"quoted" & more' },
    paths: {
      '/vaults/{vault}': {
        get: {
          summary: 'One <script>alert(1)</script> vault',
          parameters: [
            { in: 'path', name: 'vault', required: true, schema: { type: 'string', description: "its 'name'" } },
          ],
          requestBody: {
            content: {
              'application/json': {
                schema: {
                  type: 'object',
                  required: ['keys'],
                  properties: {
                    keys: { type: 'array', items: { type: 'string', pattern: '^0x' } },
                    type: { anyOf: [{ const: '0x01' }, { type: 'null' }], description: 'of <validators>' },
                  },
                },
              },
            },
          },
          responses: {
            '2XX': {
              content: { 'application/json': { schema: { patternProperties: { '^.*$': { type: 'integer' } } } } },
            },
          },
        },
      },
    },
  })
  expect(page).toContain('GET /vaults/{vault}')
  expect(page).toContain('vault (path): string   its &#39;name&#39;')
  expect(page).toContain('keys: list of string matching ^0x\n')
  expect(page).toContain('type?: &#34;0x01&#34; | null   of &#60;validators&#62;')
  expect(page).toContain('{ any name: integer }')
  expect(page).not.toContain('<script')
  expect(page).toContain('a&#60;b 4')
})

it('loads nothing, and its policy allows its own style alone', () => {
  const page = renderDocs({})
  const [, style = ''] = /<style>([\s\S]*)<\/style>/.exec(page) ?? []
  expect(DOCS_CSP).toContain(
    `default-src 'none'; style-src 'sha256-${createHash('sha256').update(style).digest('base64')}'`,
  )
  expect(page).not.toMatch(/https?:|<script|<link|<img|style="|\son\w+="/)
})
