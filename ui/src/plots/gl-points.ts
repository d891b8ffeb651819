/**
 * Points drawn by WebGL 2: places lie on the GPU once, a brush sends one byte per point. Written by hand, because
 * libraries for this make their code at run time, which the page's content security policy forbids.
 */

import type { Camera, PointRenderer, PointSet } from './points';

const VERTEX = `#version 300 es
in vec2 place;
in float look;
uniform vec4 camera;
uniform float size;
uniform float wanted;
flat out int colour;
void main() {
  bool shown = (look >= 256.0) == (wanted > 0.5);
  gl_Position = shown ? vec4((place - camera.xy) * camera.zw, 0.0, 1.0) : vec4(2.0, 2.0, 2.0, 1.0);
  gl_PointSize = size;
  colour = int(mod(look, 256.0));
}`;
const FRAGMENT = `#version 300 es
precision highp float;
flat in int colour;
uniform sampler2D palette;
uniform vec3 rest;
uniform float wanted;
out vec4 pixel;
void main() {
  pixel = vec4(wanted > 0.5 ? texelFetch(palette, ivec2(colour, 0), 0).rgb : rest, 1.0);
}`;

export class GlPoints implements PointRenderer {
  readonly mode = 'WebGL';
  readonly #gl: WebGL2RenderingContext;
  readonly #program: WebGLProgram;
  readonly #places: WebGLBuffer;
  readonly #looks: WebGLBuffer;
  readonly #palette: WebGLTexture;
  #looked: readonly unknown[] = [];
  #sent: Float32Array | null = null;

  /** Throws where there is no WebGL 2. */
  constructor(readonly canvas: HTMLCanvasElement) {
    const gl = canvas.getContext('webgl2', { antialias: false, preserveDrawingBuffer: true });
    if (!gl) throw new Error('there is no WebGL 2');
    this.#gl = gl;
    this.#program = programOf(gl);
    this.#places = gl.createBuffer();
    this.#looks = gl.createBuffer();
    this.#palette = gl.createTexture();
  }

  draw(points: PointSet, camera: Camera, size: number): void {
    const gl = this.#gl;
    if (gl.isContextLost()) return;
    gl.viewport(0, 0, this.canvas.width, this.canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.useProgram(this.#program);
    this.#send(points);
    const at = (name: string): WebGLUniformLocation | null => gl.getUniformLocation(this.#program, name);
    gl.uniform4f(at('camera'), camera.x, camera.y, camera.zoomX, camera.zoomY);
    gl.uniform1f(at('size'), size);
    gl.uniform3f(at('rest'), points.rest[0] / 255, points.rest[1] / 255, points.rest[2] / 255);
    for (const pass of [0, 1]) {
      gl.uniform1f(at('wanted'), pass);
      gl.drawArrays(gl.POINTS, 0, points.selected.length);
    }
  }

  destroy(): void {
    this.#gl.getExtension('WEBGL_lose_context')?.loseContext();
  }

  #send(points: PointSet): void {
    const gl = this.#gl;
    const { places, colours, selected, palette } = points;
    if (this.#sent !== places) {
      gl.bindBuffer(gl.ARRAY_BUFFER, this.#places);
      // What has no place is put where nothing is drawn; a NaN may end up anywhere.
      gl.bufferData(
        gl.ARRAY_BUFFER,
        places.map((value) => (Number.isNaN(value) ? 1e30 : value)),
        gl.STATIC_DRAW,
      );
      this.#point('place', 2, gl.FLOAT);
      this.#sent = places;
    }
    if (this.#looked[0] !== colours || this.#looked[1] !== selected) {
      const looks = new Uint16Array(colours.length);
      for (let point = 0; point < looks.length; point += 1) {
        looks[point] = (colours[point] as number) + 256 * (selected[point] as number);
      }
      gl.bindBuffer(gl.ARRAY_BUFFER, this.#looks);
      gl.bufferData(gl.ARRAY_BUFFER, looks, gl.DYNAMIC_DRAW);
      this.#point('look', 1, gl.UNSIGNED_SHORT);
      this.#looked = [colours, selected];
    }
    gl.bindTexture(gl.TEXTURE_2D, this.#palette);
    const table = new Uint8Array(256 * 4).fill(255);
    for (let colour = 0; colour < palette.length / 3; colour += 1) {
      table.set(palette.subarray(3 * colour, 3 * colour + 3), 4 * colour);
    }
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, table);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
  }

  #point(name: string, parts: number, kind: number): void {
    const at = this.#gl.getAttribLocation(this.#program, name);
    this.#gl.enableVertexAttribArray(at);
    this.#gl.vertexAttribPointer(at, parts, kind, false, 0, 0);
  }
}

function programOf(gl: WebGL2RenderingContext): WebGLProgram {
  const program = gl.createProgram();
  for (const [kind, source] of [
    [gl.VERTEX_SHADER, VERTEX],
    [gl.FRAGMENT_SHADER, FRAGMENT],
  ] as const) {
    const shader = gl.createShader(kind);
    if (!shader) throw new Error('the GPU takes no programs');
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) {
    throw new Error(gl.getProgramInfoLog(program) ?? 'the GPU does not take the program');
  }
  return program;
}
