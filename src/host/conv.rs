use super::plain;
use super::sizes::ConvSizes;
pub fn fprop_scratch(_: &ConvSizes) -> usize {
    0
}
pub fn dgrad_scratch(_: &ConvSizes) -> usize {
    0
}
pub fn wgrad_scratch(_: &ConvSizes) -> usize {
    0
}
pub fn bias_grad_scratch(_: usize, _: usize) -> usize {
    0
}
pub fn fprop(z: &ConvSizes, x: &[f32], w: &[f32], bias: Option<&[f32]>, y: &mut [f32], _: &mut [f32]) {
    plain::fprop(z, x, w, bias, y)
}
pub fn dgrad(z: &ConvSizes, x: &[f32], w: &[f32], bias: Option<&[f32]>, y: &mut [f32], _: &mut [f32]) {
    plain::dgrad(z, x, w, bias, y)
}
pub fn wgrad(z: &ConvSizes, x: &[f32], dy: &[f32], dw: &mut [f32], _: &mut [f32]) {
    plain::wgrad(z, x, dy, dw)
}
pub fn bias_grad(k: usize, dy: &[f32], db: &mut [f32], _: &mut [f32]) {
    plain::bias_grad(k, dy, db)
}
